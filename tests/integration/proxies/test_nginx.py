"""What does nginx do to viewers who stay for hours, when it reloads, when an instance goes, when one does not read?"""

import asyncio
import contextlib
import itertools
import json
import signal

import pytest
from aiohttp import WSServerHandshakeError

from processor_live.endpoint import CONNECTIONS
from processor_live_demo.access import Access
from processor_live_demo.directus import answer
from tests.integration.platform import EVENTUALLY_SECONDS, Platform, Viewer, now_ms
from tests.integration.proxies import shipped
from tests.integration.proxies.conftest import Deploy
from tests.integration.proxies.front import Front
from tests.servers import Database

ABNORMAL, RESTART = 1006, 1012
NEVER_MS = "3600000"
PROXIED = "proxy_http_version 1.1;"
IMPATIENT = (
    "proxy_read_timeout 4s; keepalive_timeout 1s; keepalive_requests 1; keepalive_time 1s; client_body_timeout 1s;"
)
"""What nginx has for silence and for long lives, all of it shortened: 60 s, 75 s, 1,000 requests, an hour, 60 s."""
LARGE = {"244": "x" * 4_000}
STALE_BYTES = 2_000_000
"""What a viewer who did not read may have to read before what is new: buffers of both kernels, nginx and aiohttp."""
MISSED, AT_ONCE = 1_600, 10
"""Large records: three times as many bytes, each time fewer than the service holds."""


@pytest.fixture(autouse=True)
def rally(database: Database, event: str) -> None:
    """One car drives."""
    database.register(event, "1")


async def position_through(front: Front, viewer: Viewer) -> None:
    """See that a viewer gets what is reported now."""
    ts = now_ms()
    await front.platform.trackers.report("1", ts)
    await viewer.until("1", ts)


async def test_an_idle_viewer_is_not_cut_because_the_service_pings(
    platform: Platform, deploy: Deploy, cookie: str, topic: str
) -> None:
    changes = {PROXIED: f"{PROXIED} {IMPATIENT}"}
    pinging = await deploy(shipped.nginx, await platform.start(LIVE_WS_PING_INTERVAL_MS="2000"), changes=changes)
    silent = await deploy(shipped.nginx, await platform.start(LIVE_WS_PING_INTERVAL_MS=NEVER_MS), changes=changes)
    kept, cut = await pinging.browser(cookie), await silent.browser(cookie)
    await kept.snapshot(topic)
    waiting = asyncio.create_task(kept.receive())  # only who reads answers pings
    assert await cut.close_code() == ABNORMAL
    assert not waiting.done()
    await platform.trackers.report("1", ts := now_ms())
    assert (await waiting)["ts"] == ts


async def test_a_reload_keeps_viewers_and_has_the_new_configuration_for_others(
    platform: Platform, deploy: Deploy, cookie: str, topic: str
) -> None:
    front = await deploy(shipped.nginx, await platform.start())
    viewer = await front.browser(cookie)
    await viewer.snapshot(topic)
    await reload(front)
    await position_through(front, viewer)
    newcomer = await front.browser(cookie)
    await newcomer.snapshot(topic)
    await position_through(front, newcomer)
    assert not viewer.socket.closed


async def test_with_a_worker_shutdown_timeout_a_reload_cuts_viewers_who_can_come_back(
    platform: Platform, deploy: Deploy, cookie: str, topic: str
) -> None:
    changes = {"worker_processes auto;": "worker_processes auto; worker_shutdown_timeout 1s;"}
    front = await deploy(shipped.nginx, await platform.start(), changes=changes)
    viewer = await front.browser(cookie)
    await reload(front)
    assert await viewer.close_code() == ABNORMAL
    again = await front.browser(cookie)
    await again.snapshot(topic)
    await position_through(front, again)


async def reload(front: Front) -> None:
    """Have nginx read its configuration again, which has another page now, and wait until it serves that."""
    home = front.proxy.log.parent
    (home / "spa").rename(home / "old")
    (home / "new").mkdir()
    (home / "new" / "index.html").write_text("new", encoding="utf-8")
    config = home / "nginx.conf"
    config.write_text(config.read_text(encoding="utf-8").replace(f"{home}/spa", f"{home}/new"), encoding="utf-8")
    front.proxy._process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while await front.page() != "new":
            pass


async def test_when_an_instance_goes_its_viewers_are_let_in_at_the_other_at_their_first_try(
    platform: Platform, deploy: Deploy, cookie: str, topic: str
) -> None:
    instances = [await platform.start() for _ in range(2)]
    front = await deploy(shipped.nginx, *instances)
    viewers = [await front.browser(cookie) for _ in range(6)]
    assert [len(each.app[CONNECTIONS]) for each in instances] == [3, 3]
    parting = [asyncio.create_task(each.close_code()) for each in viewers]
    await platform.runners[0].cleanup()
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        for closed in itertools.islice(asyncio.as_completed(parting), 3):
            assert await closed == RESTART
            await (await front.browser(cookie)).snapshot(topic)
    assert len(instances[1].app[CONNECTIONS]) == 6
    await platform.runners[1].cleanup()
    assert {await closed for closed in parting} == {RESTART}
    assert (await front.handshake(Cookie=cookie))[0] == 502


async def test_a_refusal_is_not_tried_again_at_the_other_instance_which_would_ask_directus_twice(
    platform: Platform, deploy: Deploy, access: Access, cookie: str
) -> None:
    front = await deploy(shipped.nginx, *[await platform.start() for _ in range(2)])
    access.overrides["users"] = answer(500)
    status, headers, _ = await front.handshake(Cookie=cookie)
    assert (status, "Retry-After" in headers) == (503, True)
    assert len(access.calls) == 1


async def test_one_address_has_only_so_many_connections(platform: Platform, deploy: Deploy, cookie: str) -> None:
    changes = {"limit_conn addresses 1000;": "limit_conn addresses 2;"}
    front = await deploy(shipped.nginx, await platform.start(), changes=changes)
    viewers = [await front.browser(cookie) for _ in range(2)]
    assert (await front.handshake(Cookie=cookie))[0] == 429
    await viewers[0].socket.close()
    await eventually_lets_in(front, cookie)


async def eventually_lets_in(front: Front, cookie: str) -> None:
    """Connect as soon as nginx has seen that somebody left."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while True:
            with contextlib.suppress(WSServerHandshakeError):
                await front.browser(cookie)
                return


async def test_who_did_not_read_has_little_that_is_old_to_read_before_what_is_new(
    platform: Platform, deploy: Deploy, cookie: str, topic: str
) -> None:
    front = await deploy(
        shipped.nginx, await platform.start(LIVE_INCLUDE_ATTRIBUTES="true", LIVE_FLUSH_INTERVAL_MS="0")
    )
    witness, idler = await front.browser(cookie), await front.browser(cookie)
    for viewer in (witness, idler):
        await viewer.snapshot(topic)
    ts = now_ms()
    for _ in range(MISSED // AT_ONCE):
        for _ in range(AT_ONCE):
            ts += 1
            await platform.trackers.report("1", ts, attributes=LARGE)
        await witness.until("1", ts)
    await idler.until("1", ts)
    stale_bytes = sum(len(json.dumps(position)) for position in idler.positions[:-1])
    assert stale_bytes < STALE_BYTES < sum(len(json.dumps(position)) for position in witness.positions) / 2
