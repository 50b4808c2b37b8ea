"""When nothing reaches Redis, Postgres and Directus any more, nobody waits for long, and all heals by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from urllib.parse import urlsplit

import pytest

from tests.integration.platform import EVENTUALLY_SECONDS, Live, Platform, now_ms
from tests.link import Link, link_to
from tests.servers import Database

IMEI = "352093080000001"
BROWSERS_PATIENCE_SECONDS = 5
"""For an answer (docs/contract.md §6.3)."""
SETTINGS = {
    "LIVE_SNAPSHOT_TIMEOUT_MS": "500",
    "LIVE_DEVICE_EVENT_REFRESH_MS": "300",
    "DIRECTUS_AUTH_TIMEOUT_MS": "500",
    "DIRECTUS_AUTHZ_TIMEOUT_MS": "500",
}

DEPENDING = {"fanout", "directus", "routing-refresh"}


@pytest.fixture
async def links(platform: Platform) -> AsyncIterator[list[Link]]:
    """How the service, and nobody else, reaches what it depends on."""
    async with AsyncExitStack() as stack:
        links = []
        for key in ("REDIS_URL", "POSTGRES_URL", "DIRECTUS_BASE_URL"):
            there = urlsplit(platform.environ[key])
            assert there.port is not None
            links.append(await stack.enter_async_context(link_to(there.port)))
            platform.environ[key] = platform.environ[key].replace(
                f"{there.hostname}:{there.port}", f"127.0.0.1:{links[-1].port}"
            )
        yield links
        await platform.close()


@pytest.fixture(autouse=True)
def _rally(database: Database, event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One car drives, and the service is impatient with Redis, too."""
    database.register(event, IMEI)
    monkeypatch.setattr("processor_live_redis.fanout.GRACE_SECONDS", 0.3)


def silence(links: list[Link], *, to_newcomers: bool) -> ExitStack:
    """Let nothing come through any of the links for a while."""
    stack = ExitStack()
    for link in links:
        stack.enter_context(link.silent(to_newcomers=to_newcomers))
    return stack


async def failing(live: Live) -> set[str]:
    """Return the checks that fail."""
    return {name for name, problem in (await live.readiness())[1]["checks"].items() if problem != "good"}


async def all_is_well(live: Live, cookie: str, topic: str) -> None:
    """Come as a new viewer until everything answers."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while (await live.readiness())[1]["status"] != "ready":
            if (await live.handshake(Cookie="nobody=1"))[0] == 401:  # Directus has answered
                newcomer = await live.viewer(cookie)
                await newcomer.ask("subscribe", topic)
                await newcomer.socket.close()


@pytest.mark.parametrize("to_newcomers", [True, False], ids=["the network is gone", "a firewall has forgotten"])
async def test_what_nothing_reaches_any_more_is_not_waited_for_and_found_again(
    platform: Platform, links: list[Link], cookie: str, topic: str, *, to_newcomers: bool
) -> None:
    live = await platform.start(**SETTINGS)
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    with silence(links, to_newcomers=to_newcomers):
        async with asyncio.timeout(BROWSERS_PATIENCE_SECONDS):
            assert (await viewer.ask("subscribe", topic))["type"] == "error"
        if to_newcomers:
            async with asyncio.timeout(BROWSERS_PATIENCE_SECONDS):
                assert (await live.handshake(Cookie=cookie))[0] == 503
            async with asyncio.timeout(EVENTUALLY_SECONDS):
                while DEPENDING - await failing(live):
                    pass
        else:
            await all_is_well(live, cookie, topic)
    await all_is_well(live, cookie, topic)
    ts = now_ms()
    await viewer.snapshot(topic)
    await platform.trackers.report(IMEI, ts)
    await viewer.until(IMEI, ts)


async def test_a_stop_waits_for_nobody_whom_nothing_reaches(
    platform: Platform, links: list[Link], cookie: str, topic: str
) -> None:
    live = await platform.start(**SETTINGS)
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    with silence(links, to_newcomers=True):
        asking = asyncio.create_task(viewer.ask("subscribe", topic))
        stopping = asyncio.create_task(platform.stop())
        async with asyncio.timeout(BROWSERS_PATIENCE_SECONDS):
            assert await viewer.close_code() == 1012
            await stopping
        asking.cancel()
