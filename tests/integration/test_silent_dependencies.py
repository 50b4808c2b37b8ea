"""When nothing reaches Redis, Postgres and Directus any more, nobody waits for long, and all heals by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.integration.platform import EVENTUALLY_SECONDS, Live, Platform, Viewer, now_ms
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

NETWORKS = pytest.mark.parametrize("to_newcomers", [True, False], ids=["all is lost", "a firewall has forgotten"])


@dataclass(frozen=True)
class Links:
    """How the service, and nobody else, reaches what it depends on."""

    redis: Link
    postgres: Link
    directus: Link


@pytest.fixture
async def links(platform: Platform) -> AsyncIterator[Links]:
    """Links to all three, through which the service is started."""
    async with AsyncExitStack() as stack:

        async def to(key: str) -> Link:
            there = urlsplit(platform.environ[key])
            assert there.port is not None
            link = await stack.enter_async_context(link_to(there.port))
            here = f"127.0.0.1:{link.port}"
            platform.environ[key] = platform.environ[key].replace(f"{there.hostname}:{there.port}", here)
            return link

        yield Links(await to("REDIS_URL"), await to("POSTGRES_URL"), await to("DIRECTUS_BASE_URL"))
        await platform.close()


@pytest.fixture(autouse=True)
def _rally(database: Database, event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One car drives, and the service is impatient with Redis, too."""
    database.register(event, IMEI)
    monkeypatch.setattr("processor_live_redis.connection.GRACE_SECONDS", 0.3)


@pytest.fixture
async def live(platform: Platform, links: Links) -> Live:  # noqa: ARG001 - they are in its environment
    return await platform.start(**SETTINGS)


@pytest.fixture
async def viewer(live: Live, cookie: str, topic: str) -> Viewer:
    """Somebody who is there before it begins."""
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    return viewer


async def goes_on(viewer: Viewer, platform: Platform) -> None:
    """See that a viewer is shown what is reported now."""
    ts = now_ms()
    await platform.trackers.report(IMEI, ts)
    await viewer.until(IMEI, ts)


async def until_good(live: Live, viewer: Viewer, topic: str) -> None:
    """Ask, as people do, until everything answers."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while (await live.readiness())[1]["status"] != "ready":
            await live.handshake(Cookie="nobody=1")
            await viewer.ask("subscribe", topic)
            await asyncio.sleep(0.1)


@NETWORKS
async def test_stores_that_nothing_reaches_are_not_waited_for_and_found_again(
    platform: Platform, links: Links, live: Live, viewer: Viewer, topic: str, *, to_newcomers: bool
) -> None:
    with links.redis.silent(to_newcomers=to_newcomers), links.postgres.silent(to_newcomers=to_newcomers):
        async with asyncio.timeout(BROWSERS_PATIENCE_SECONDS):
            await viewer.snapshot(topic)
        if to_newcomers:
            checks = (await live.until("unready"))["checks"]
            assert "TimeoutError" in checks["fanout"]
            assert "within 500 ms" in checks["snapshot"]
        else:
            await until_good(live, viewer, topic)
            await goes_on(viewer, platform)
    await until_good(live, viewer, topic)
    await goes_on(viewer, platform)


@NETWORKS
async def test_a_directus_that_nothing_reaches_is_not_waited_for_and_found_again(
    platform: Platform, links: Links, live: Live, viewer: Viewer, topic: str, cookie: str, *, to_newcomers: bool
) -> None:
    asker = await live.viewer(cookie)
    with links.directus.silent(to_newcomers=to_newcomers):
        async with asyncio.timeout(BROWSERS_PATIENCE_SECONDS):
            assert (await asker.ask("subscribe", topic))["code"] == "error"
        await goes_on(viewer, platform)
        if to_newcomers:
            async with asyncio.timeout(BROWSERS_PATIENCE_SECONDS):
                assert (await live.handshake(Cookie=cookie))[0] == 503
            assert "TimeoutError" in (await live.until("degraded"))["checks"]["directus"]
        else:
            await until_good(live, asker, topic)
            await goes_on(viewer, platform)
    await until_good(live, asker, topic)
    newcomer = await live.viewer(cookie)
    await newcomer.snapshot(topic)
    await goes_on(newcomer, platform)


async def test_a_stop_waits_for_nobody_whom_nothing_reaches(
    platform: Platform, links: Links, viewer: Viewer, topic: str
) -> None:
    silent = [each.silent(to_newcomers=True) for each in (links.redis, links.postgres, links.directus)]
    with silent[0], silent[1], silent[2]:
        await viewer.socket.send_json({"type": "subscribe", "topic": topic})
        stopping = asyncio.create_task(platform.stop())
        async with asyncio.timeout(BROWSERS_PATIENCE_SECONDS):
            assert await viewer.close_code() == 1012
            await stopping
