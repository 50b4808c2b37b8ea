"""Who falls silent without a word, as a phone in a tunnel, costs what the contract allows, and the others nothing."""

import asyncio
import json
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from processor_live.endpoint import CONNECTIONS, drain
from processor_live_demo.access import Access
from tests.core.stranger import UPGRADE, Stranger, close_frame, strangers
from tests.core.wire import metric
from tests.integration.conftest import ANA
from tests.integration.entering import IMEIS, enter, newest_of_all
from tests.integration.platform import EVENTUALLY_SECONDS, Live, Platform, Viewer, now_ms
from tests.integration.process import SERVE, Start, logged
from tests.running import until
from tests.servers import Database
from tests.silence import fall_silent, kept_by_the_kernel, silent

EACH = 3
"""As many follow an event where nothing happens, and one where much does."""
PING_MS, SLOW_MS = 1_500, 500
TUNNEL_SECONDS = 1.0
"""The kernel has sent some of it again, in vain, and waits longer each time."""
SHORT_MS = 500


@pytest.fixture(autouse=True)
def _rally(database: Database, event: str) -> None:
    database.register(event, *IMEIS)


async def until_the_kernel_keeps(port: int, count: int) -> None:
    """Wait until so many connections of a port are left, whether or not a process still has them."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while len(kept_by_the_kernel(port)) != count:  # noqa: ASYNC110 - it is the kernel's
            await asyncio.sleep(0.05)


async def watch(viewer: Viewer, newest: dict[str, int]) -> int | None:
    """Take what comes, as only who does answers pings, until the end, and return the close code."""
    async for message in viewer.socket:
        position = json.loads(message.data)
        newest[position["deviceId"]] = position["ts"]
    return viewer.socket.close_code


async def shown(newest: dict[str, int], ts: int) -> None:
    """Wait until every device has been seen at `ts`."""
    await until(lambda: set(newest.values()) == {ts})


def descriptors(pid: int) -> int:
    """Return how many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def metrics(platform: Platform, port: int) -> str:
    """Return the metrics of a process."""
    async with platform.session.get(f"http://127.0.0.1:{port}/metrics") as response:
        return await response.text()


async def test_who_falls_silent_is_dropped_with_all_that_it_held(
    platform: Platform, start: Start, database: Database, access: Access, topic: str, cookie: str
) -> None:
    quiet = database.add_event()
    access.users[ANA].events.add(quiet)
    limits = {"LIVE_WS_MAX_CONNECTIONS": str(1 + 2 * EACH), "LIVE_WS_BACKPRESSURE_THRESHOLD_BYTES": "4096"}
    process = await start(*SERVE, LIVE_WS_PING_INTERVAL_MS=str(PING_MS), LIVE_WS_SLOW_TIMEOUT_MS=str(SLOW_MS), **limits)
    port = int((await logged(process, r"live\.listening host=\S+ port=(\d+)"))[1])
    health = int((await logged(process, r"health\.listening host=\S+ port=(\d+)"))[1])
    await logged(process, r"check\.good check=fanout")
    witness = await platform.viewer(f"ws://127.0.0.1:{port}/ws-live", cookie)
    await witness.snapshot(topic)
    newest: dict[str, int] = {}
    watching = asyncio.create_task(watch(witness, newest))
    await metrics(platform, health)  # that takes a connection, too
    before = descriptors(process.pid)
    ts = now_ms()

    async with strangers(port, 2 * EACH) as crowd:
        for number, stranger in enumerate(crowd):
            await enter(stranger, cookie, topic if number % 2 else f"event:{quiet}")
            fall_silent(stranger.sock)
        while "live_connections 1.0" not in (said := await metrics(platform, health)):
            await platform.trackers.drive(IMEIS, ts, 25)
            ts += 25
            await shown(newest, ts - 1)
        ends = {code: int(count) for code, count in re.findall(r'live_disconnects_total{code="(\d+)"} (\d+)', said)}
        assert set(ends) <= {"1006", "1013"}
        assert ends["1006"] >= EACH, "where nothing happens, only the ping tells"
        assert sum(ends.values()) == 2 * EACH
        assert "live_subscriptions 1.0" in said
        assert "live_lagging_connections 0.0" in said
        assert descriptors(process.pid) <= before
        assert len(kept_by_the_kernel(port)) == 1
    async with strangers(port, 2 * EACH) as crowd:
        for stranger in crowd:
            await enter(stranger, cookie, topic)
    process.send_signal(signal.SIGTERM)
    assert await watching == 1012
    _, log = await process.communicate()
    assert process.returncode == 0
    assert [line for line in log.splitlines() if b" INFO " not in line and b" check." not in line] == []


async def test_who_comes_out_of_a_tunnel_is_still_there_and_ends_on_the_newest_positions(
    platform: Platform, access: Access, cookie: str, topic: str
) -> None:
    live = await platform.start(LIVE_WS_BACKPRESSURE_THRESHOLD_BYTES="4096")
    witness = await live.viewer(access.sign_in(ANA))
    await witness.snapshot(topic)
    async with strangers(live.port) as (phone,):
        await enter(phone, cookie, topic)
        began, ts = asyncio.get_running_loop().time(), now_ms()
        with silent(phone.sock):
            while asyncio.get_running_loop().time() < began + TUNNEL_SECONDS or not lagging(live):
                await platform.trackers.drive(IMEIS, ts, 25)
                ts += 25
                await newest_of_all(witness, ts - 1)
        newest: dict[str, int] = {}
        while set(newest.values()) != {ts - 1} or len(newest) < len(IMEIS):
            received = await phone.receive()
            assert received is not None
            position = json.loads(received.payload)
            assert position["ts"] > newest.get(position["deviceId"], 0)
            newest[position["deviceId"]] = position["ts"]
        assert len(live.app[CONNECTIONS]) == 2


def lagging(live: Live) -> bool:
    """Return whether somebody is behind."""
    return any(each.lagging for each in live.app[CONNECTIONS])


async def test_who_vanishes_while_directus_is_asked_leaves_its_seat_to_others(
    platform: Platform, access: Access, cookie: str, topic: str
) -> None:
    live = await platform.start(LIVE_WS_PING_INTERVAL_MS="1000", LIVE_WS_MAX_CONNECTIONS="1")
    before = metric("live_disconnects_total", code="1006")
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def slowly(_: web.Request) -> web.StreamResponse:
        asked.set()
        await let_go.wait()
        return web.Response(body=b'{"data": {"id": "ana"}}')

    access.overrides["users"] = slowly
    async with strangers(live.port) as (phone,):
        lines = ("GET /ws-live HTTP/1.1", "Host: live.rally.al", *UPGRADE, f"Cookie: {cookie}", "", "")
        await phone.send("\r\n".join(lines).encode())
        await asked.wait()
        assert (await live.handshake(Cookie=cookie))[0] == 503
        fall_silent(phone.sock)
        let_go.set()
        del access.overrides["users"]
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while metric("live_disconnects_total", code="1006") == before:  # noqa: ASYNC110 - an end is no event
                await asyncio.sleep(0.05)
        viewer = await live.viewer(cookie)
        await viewer.snapshot(topic)
        assert len(kept_by_the_kernel(live.port)) == 1


End = Callable[[Live, Stranger], Awaitable[None]]


async def told_to_go(live: Live, _: Stranger) -> None:
    """Let the service stop."""
    await drain(live.app)


async def goes(_: Live, phone: Stranger) -> None:
    """Let the phone say goodbye, and never hear the answer."""
    await phone.send(close_frame(1000))


@pytest.mark.parametrize("end", [told_to_go, goes])
async def test_who_vanishes_at_the_goodbye_is_not_waited_for_and_the_kernel_forgets_it_soon(
    platform: Platform, cookie: str, topic: str, monkeypatch: pytest.MonkeyPatch, end: End
) -> None:
    monkeypatch.setattr("processor_live.connection.GOODBYE_SECONDS", SHORT_MS / 1000)
    monkeypatch.setattr("processor_live.kernel.LAST_WORDS_MS", SHORT_MS)
    live = await platform.start()
    async with strangers(live.port) as (phone,):
        await enter(phone, cookie, topic)
        fall_silent(phone.sock)
        await end(live, phone)
        await until_the_kernel_keeps(live.port, 0)
    assert not live.app[CONNECTIONS]
