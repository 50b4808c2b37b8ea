"""A crowd that comes all at once waits here, not at Directus or Postgres (docs/contract.md §6.3)."""

import asyncio
import gc
from dataclasses import replace

import pytest
from aiohttp.web_protocol import RequestHandler

from processor_live_demo.access import Access
from processor_live_demo.directus import silence
from processor_live_directus.auth import WHO
from processor_live_postgres.snapshot import SPACING_SECONDS
from tests.busy_directus import BusyDirectus
from tests.core.stranger import strangers
from tests.core.wire import metric
from tests.crowd import Crowd
from tests.directus.conftest import Gate
from tests.integration.platform import Live, Platform
from tests.running import until
from tests.servers import Database

VIEWERS = 150
AT_ONCE = 8
ANSWERS_PER_SECOND = 150
"""Two for each viewer: two seconds' work."""
PATIENCE_SECONDS = 0.5
QUERIES = "live_snapshot_seconds_count"


async def test_a_crowd_costs_directus_so_many_calls_at_the_same_time_and_postgres_a_handful_of_queries(
    platform: Platform, database: Database, access: Access, event: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each viewer two calls, though most are turned away several times before they get in."""
    monkeypatch.setattr("processor_live_directus.auth.WHO", replace(WHO, patience_s=PATIENCE_SECONDS))
    monkeypatch.setattr("processor_live.handshake.RETRY_AFTER_SECONDS", (0, 1))
    database.register(event, "1")
    directus = BusyDirectus(access, ANSWERS_PER_SECOND)
    live = await platform.start(DIRECTUS_MAX_CONCURRENCY=str(AT_ONCE), LIVE_WS_MAX_CONNECTIONS_PER_USER=str(VIEWERS))
    loop, queries = asyncio.get_running_loop(), metric(QUERIES)
    began = loop.time()
    async with Crowd(live.port, topic) as crowd:
        crowd.come([f"session={number}" for number in range(VIEWERS)], within_s=0)
        await crowd.all_in()
        took_s = loop.time() - began
    assert AT_ONCE // 2 <= directus.most_at_once <= AT_ONCE
    assert directus.answered == {"users": VIEWERS, "events": VIEWERS}
    assert crowd.undecided == 0, "whoever has got in may also follow"
    assert min(refusal.after_s for refusal in crowd.refusals) >= PATIENCE_SECONDS, "nobody before their time was over"
    assert metric(QUERIES) - queries <= took_s / SPACING_SECONDS + 1


def handlers() -> int:
    """Return of how many connections to a server there is anything left in this process."""
    return sum(isinstance(each, RequestHandler) for each in gc.get_objects())


async def refuse(live: Live) -> None:
    """Let ten come who are told to come back."""
    async with strangers(live.port, 10) as crowd:
        for number, stranger in enumerate(crowd):
            assert await stranger.upgrade(f"Cookie: session={number}") == 503


async def refuse_without_garbage(live: Live) -> None:
    """Let them come, and see that nothing is left of them though no garbage is collected."""
    await refuse(live)  # whatever is made once
    gc.collect()
    gc.disable()
    try:
        before = handlers()
        await refuse(live)
        await until(lambda: handlers() <= before)
    finally:
        gc.enable()


async def test_who_finds_no_free_place_is_forgotten_at_once(
    platform: Platform, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or in a storm the garbage collector is busier than all else: two thirds of the CPU, and seconds at a time."""
    monkeypatch.setattr("processor_live_directus.auth.WHO", replace(WHO, patience_s=0.05))
    gate = access.overrides["users"] = Gate()
    live = await platform.start(DIRECTUS_MAX_CONCURRENCY="1", DIRECTUS_AUTH_TIMEOUT_MS="60000")
    with_a_place = asyncio.create_task(live.handshake(Cookie="session=first"))
    await gate.entered.wait()
    await refuse_without_garbage(live)
    gate.opened.set()
    await with_a_place


async def test_who_has_no_answer_of_directus_in_time_is_forgotten_at_once(platform: Platform, access: Access) -> None:
    access.overrides["users"] = silence()
    await refuse_without_garbage(await platform.start(DIRECTUS_AUTH_TIMEOUT_MS="50"))
