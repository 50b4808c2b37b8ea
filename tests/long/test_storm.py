"""A crowd of viewers loses the service and comes back, each with a session of their own, to a Directus that is slow."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from processor_live_demo.access import Access
from processor_live_demo.embedded import free_port
from processor_live_directus.auth import PATIENCE_SECONDS
from processor_live_postgres.snapshot import SPACING_SECONDS
from tests.busy_directus import BusyDirectus
from tests.crowd import ANSWER_SECONDS, Crowd
from tests.integration.platform import Platform, now_ms
from tests.integration.process import SERVE, Start, logged
from tests.long.asking import RESPONSIVE_SECONDS, asking
from tests.running import until
from tests.servers import Database

log = logging.getLogger(__name__)

VIEWERS = 5_000
ANSWERS_PER_SECOND = 150
"""Of one Directus (docs/contract.md §6.3)."""
AT_ONCE = 32
"""DIRECTUS_MAX_CONCURRENCY as it is by default."""
FLOOR_SECONDS = 2 * VIEWERS / ANSWERS_PER_SECOND
"""Each viewer costs Directus two calls: nobody can let them all in sooner."""
GROUP = 100
"""Who comes together for the first time, to a Directus that is quick."""
REPORT_EVERY_SECONDS = 0.5


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open a file for each viewer."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = max(soft, VIEWERS + 1_000)
    setrlimit(RLIMIT_NOFILE, (wanted if hard == RLIM_INFINITY else min(wanted, hard), hard))
    yield
    setrlimit(RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def driving(platform: Platform, imei: str) -> AsyncIterator[list[int]]:
    """Let a device report, each time one millisecond later than before, and note it."""
    sent: list[int] = []
    first = now_ms()

    async def drive() -> None:
        while True:
            await platform.trackers.report(imei, first + len(sent))
            sent.append(first + len(sent))
            await asyncio.sleep(REPORT_EVERY_SECONDS)

    task = asyncio.create_task(drive())
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.wait([task])


async def metrics(session: ClientSession, health: str) -> Counter[str]:
    """Return what `/metrics` says, whatever the labels."""
    async with session.get(f"{health}/metrics") as response:
        text = await response.text()
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value  # type: ignore[assignment] # the types know whole numbers only
    return found


@pytest.mark.usefixtures("many_files")
@pytest.mark.timeout(1_200)
async def test_five_thousand_who_come_back_at_once_are_let_in_as_fast_as_directus_can_answer(
    platform: Platform, start: Start, database: Database, access: Access, event: str, topic: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING, "aiohttp.access")  # the stand-in's: tens of thousands of lines
    database.register(event, "1")
    port = free_port()
    settings = {"LIVE_WS_PORT": str(port), "LIVE_WS_MAX_CONNECTIONS_PER_USER": str(VIEWERS)}
    BusyDirectus(access, 10_000)
    process = await start(*SERVE, **settings)
    await logged(process, r"check\.good check=fanout")
    loop = asyncio.get_running_loop()
    async with Crowd(port, topic) as crowd, driving(platform, "1") as sent:
        for first in range(0, VIEWERS, GROUP):
            crowd.come([f"session={number}" for number in range(first, first + GROUP)], within_s=0)
            await crowd.all_in()

        directus = BusyDirectus(access, ANSWERS_PER_SECOND)
        process.kill()
        await process.wait()
        await until(lambda: not crowd.following)
        crowd.forget()
        process = await start(*SERVE, **settings)
        health_port = (await logged(process, r"health\.listening host=\S+ port=(\d+)"))[1]
        health = f"http://127.0.0.1:{health_port}"
        began = loop.time()
        async with asking(platform.session, f"{health}/healthz") as health_s:
            await crowd.all_in()
        took_s = loop.time() - began
        service = await metrics(platform.session, health)
        last = sent[-1]
        await crowd.all_see(last)

        log.info("all are in after %.1f s, the floor is %.1f", took_s, FLOOR_SECONDS)
        log.info("%d refusals, %d found nobody", len(crowd.refusals), crowd.unreachable)
        log.info("Directus: %s, %d at once", directus.answered, directus.most_at_once)
        log.info("a subscribe: %.2f s at most; /healthz: %.2f s; the crowd was up to %.2f s late itself",
            max(crowd.answers_s), max(health_s), crowd.lag_s)  # fmt: skip
        queries, cpu_s = service["live_snapshot_seconds_count"], service["process_cpu_seconds_total"]
        log.info("%d queries, %.1f s of CPU", queries, cpu_s)

        assert took_s < 2 * FLOOR_SECONDS
        assert directus.most_at_once <= AT_ONCE
        assert directus.answered == {"users": VIEWERS, "events": VIEWERS}, "no call is in vain"
        assert queries <= took_s / SPACING_SECONDS + 1
        assert max(crowd.answers_s) < ANSWER_SECONDS + crowd.lag_s
        assert crowd.undecided == 0, "whoever has got in may also follow"
        assert crowd.abandoned == 0, "everybody has an answer"
        assert min(refusal.after_s for refusal in crowd.refusals) > PATIENCE_SECONDS - 0.1, "nobody before their time"
        told = Counter(refusal.retry_after_s for refusal in crowd.refusals)
        assert sorted(told) == list(range(1, 11))
        assert max(told.values()) < 2 * min(told.values()), "spread evenly"
        assert max(health_s) < RESPONSIVE_SECONDS + crowd.lag_s
        assert crowd.cut == 0
        missed = max(last - viewer.seen[0] + 1 - len(viewer.seen) for viewer in crowd.following)
        assert missed <= service["live_catch_up_skipped_total"], "who is in misses nothing"
