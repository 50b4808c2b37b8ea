"""Who does not read, says too much, or falls silent costs what the contract allows, and the others nothing."""

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec

import pytest
from aiohttp import web

from processor_live.command_queue import MAX_WAITING
from processor_live.endpoint import CONNECTIONS
from processor_live_demo.access import Access
from tests.core.stranger import PING, PONG, TEXT, Stranger, frame, strangers
from tests.core.wire import Frame, metric
from tests.integration.entering import IMEIS, enter, newest_of_all, subscribe
from tests.integration.platform import EVENTUALLY_SECONDS, Live, Platform, Viewer, now_ms
from tests.servers import Database

SLOW_SECONDS = 4
"""Long enough to fall far behind."""
THRESHOLD_BYTES = 4_096
PATIENCE_SECONDS = 5
"""Of a viewer; a busy machine is not a flood's doing."""
HELD_BYTES = THRESHOLD_BYTES + 1_000 * 200
"""The threshold and one flush: 40 devices drive 25 steps between two looks."""


PEER = """
import asyncio, sys, aiohttp
async def view(url, cookie, topic):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers={"Cookie": cookie}) as socket:
        await socket.send_json({"type": "subscribe", "topic": topic})
        async for message in socket:
            print(message.data, flush=True)
asyncio.run(view(*sys.argv[1:]))
"""
"""A viewer in a process of its own, which can be stopped."""


async def read_slowly(stranger: Stranger) -> None:
    """Read a kilobyte a second: what is tested takes its time."""
    while True:
        await stranger.trickle(256)
        await asyncio.sleep(0.25)


@pytest.fixture
def settings(database: Database, event: str) -> dict[str, str]:
    """All devices take part in a rally at an instance that is quick to see who is behind."""
    for imei in IMEIS:
        database.register(event, imei)
    return {"LIVE_WS_BACKPRESSURE_THRESHOLD_BYTES": str(THRESHOLD_BYTES)}


@pytest.fixture
async def live(platform: Platform, settings: dict[str, str]) -> Live:
    return await platform.start(**settings)


@pytest.fixture
async def witness(live: Live, access: Access, topic: str) -> Viewer:
    """Somebody who has nothing to do with all that, and follows the same event."""
    viewer = await live.viewer(access.sign_in("ana@rally.al"))
    await viewer.snapshot(topic)
    return viewer


async def test_who_never_reads_is_let_go_and_costs_nobody_a_position(
    platform: Platform, settings: dict[str, str], cookie: str, topic: str
) -> None:
    live = await platform.start(**settings, LIVE_WS_SLOW_TIMEOUT_MS="1000")
    witness = await live.viewer(cookie)
    await witness.snapshot(topic)
    before = metric("live_disconnects_total", code="1013")
    async with strangers(live.port, 5, phones=True) as crowd:
        for stranger in crowd:
            await enter(stranger, cookie, topic)
        ts = now_ms()
        while len(live.app[CONNECTIONS]) > 1:
            await platform.trackers.drive(IMEIS, ts, 25)
            ts += 25
            await newest_of_all(witness, ts - 1)
            assert all(each._transport.get_write_buffer_size() <= HELD_BYTES for each in live.app[CONNECTIONS])
    assert metric("live_disconnects_total", code="1013") - before == len(crowd)


async def test_who_reads_a_kilobyte_a_second_stays_and_ends_on_the_newest_positions(
    platform: Platform, live: Live, witness: Viewer, cookie: str, topic: str
) -> None:
    async with strangers(live.port, phones=True) as (slow,):
        await enter(slow, cookie, topic)
        sips = asyncio.create_task(read_slowly(slow))
        ts = now_ms()
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < SLOW_SECONDS:
            await platform.trackers.drive(IMEIS, ts, 5)
            ts += 5
            await newest_of_all(witness, ts - 1)
        assert any(each.lagging for each in live.app[CONNECTIONS])
        sips.cancel()
        await asyncio.wait([sips])
        newest: dict[str, int] = {}
        while set(newest.values()) != {ts - 1} or len(newest) < len(IMEIS):
            received = await slow.receive()
            assert received is not None
            position = json.loads(received.payload)
            assert position["ts"] > newest.get(position["deviceId"], 0)
            newest[position["deviceId"]] = position["ts"]


async def test_a_peer_that_falls_silent_is_dropped_and_one_that_answers_pings_is_not(
    platform: Platform, settings: dict[str, str], cookie: str, topic: str
) -> None:
    live = await platform.start(**settings, LIVE_WS_PING_INTERVAL_MS="1000")
    before = metric("live_disconnects_total", code="1006")
    command = (sys.executable, "-c", PEER, f"{live.url}/ws-live", cookie, topic)
    peers = [await create_subprocess_exec(*command, stdout=PIPE) for _ in range(2)]
    try:
        heard = [peer.stdout for peer in peers if peer.stdout is not None]
        assert all([b"subscribed" in await said.readline() for said in heard])
        peers[0].send_signal(signal.SIGSTOP)
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while len(live.app[CONNECTIONS]) > 1:  # noqa: ASYNC110 - the end of a connection is no event
                await asyncio.sleep(0.05)
        assert metric("live_disconnects_total", code="1006") - before == 1
        await platform.trackers.report("1", now_ms())
        assert b'"position"' in await heard[1].readline()
        peers[0].send_signal(signal.SIGCONT)
        assert await peers[0].wait() == 0, "it sees that it has been left"
    finally:
        for peer in peers:
            if peer.returncode is None:
                peer.kill()
            await peer.communicate()


@pytest.mark.timeout(180)  # ten seconds of CPU, the price of so many
async def test_100_000_commands_are_answered_and_delay_nobodys_position(
    platform: Platform, live: Live, witness: Viewer, cookie: str
) -> None:
    count, at_once = 100_000, 500
    command = frame(TEXT, b'{"type":"unsubscribe","topic":"event:1"}')
    before = {answer: metric("live_commands_total", answer=answer) for answer in ("rate-limited", "unsubscribed")}
    done = asyncio.Event()

    async def say_all() -> None:
        async with strangers(live.port) as (stranger,):
            await stranger.upgrade(f"Cookie: {cookie}")
            for _ in range(count // at_once):
                await stranger.send(command * at_once)
                answers = b""
                while answers.count(b'"topic":"event:1"') < at_once:
                    answers += await stranger.read()
                    assert not stranger.gone
        done.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(say_all())
        ts = now_ms()
        while not done.is_set():
            ts += 1
            await platform.trackers.report("1", ts)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await witness.until("1", ts)
            await asyncio.sleep(0.02)  # fifty a second is what a device may send
    answered = {answer: metric("live_commands_total", answer=answer) - number for answer, number in before.items()}
    assert sum(answered.values()) == count
    assert answered["unsubscribed"] < count / 100


async def test_who_says_a_lot_and_reads_nothing_is_let_go(live: Live, cookie: str) -> None:
    before = metric("live_disconnects_total", code="1013")
    async with strangers(live.port, phones=True) as (stranger,):
        await stranger.upgrade(f"Cookie: {cookie}")
        command = frame(TEXT, b'{"type":"unsubscribe","topic":"event:1"}')
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(EVENTUALLY_SECONDS):
                while True:
                    await stranger.send(command * 100)
        assert not live.app[CONNECTIONS]
    assert metric("live_disconnects_total", code="1013") - before == 1


async def test_while_directus_hangs_commands_wait_in_line_and_the_surplus_is_refused_at_once(
    platform: Platform, live: Live, witness: Viewer, access: Access, cookie: str, topic: str
) -> None:
    let_go = asyncio.Event()

    async def slowly(_: web.Request) -> web.StreamResponse:
        await let_go.wait()
        return web.Response(status=403, body=b'{"errors":[{"extensions":{"code":"FORBIDDEN"}}]}')

    access.overrides["events"] = slowly
    async with strangers(live.port) as (stranger,):
        await stranger.upgrade(f"Cookie: {cookie}")
        await stranger.send(*(subscribe(topic, str(number)) for number in range(20)), frame(PING, b"here?"))
        early = [await stranger.receive() for _ in range(4)]
        assert Frame(PONG, b"here?", compressed=False) in early
        refused = [json.loads(each.payload) for each in early if each is not None and each.opcode == TEXT]
        assert [(each["code"], each["id"]) for each in refused] == [
            ("rate-limited", str(number)) for number in range(1 + MAX_WAITING, 20)
        ]
        ts = now_ms()
        await platform.trackers.drive(IMEIS, ts, 1)
        await newest_of_all(witness, ts)
        let_go.set()
        for number in range(1 + MAX_WAITING):
            answer = await stranger.receive()
            assert answer is not None
            assert (json.loads(answer.payload)["code"], json.loads(answer.payload)["id"]) == ("forbidden", str(number))
