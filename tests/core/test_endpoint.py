"""An open connection is read to its end, everybody concerned is told, and a stop says goodbye to all."""

import asyncio
import gc
import json
from collections.abc import Callable

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, web

from processor_live import endpoint, signals
from processor_live.connection import GOODBYE_SECONDS, Connection
from processor_live.endpoint import CONNECTIONS, drain
from processor_live.handshake import Handler
from processor_live.protocol import Verdict
from processor_live.seats import SEATS
from processor_live.signals import CONNECTED, DISCONNECTED, SUBSCRIBED, UNSUBSCRIBED
from processor_live.slots import AUTHORIZE
from processor_live.websocket import WebSocket
from tests.core.door import COOKIE, Browser, Start, allow
from tests.core.stranger import UPGRADE
from tests.core.wire import metric, until

HANDSHAKE = {**COOKIE, **dict(line.split(": ") for line in UPGRADE)}


def app_of(browser: Browser) -> web.Application:
    """Return the application at whose door the browser is."""
    assert browser.app is not None
    return browser.app


async def close_code(socket: ClientWebSocketResponse) -> int | None:
    """Read to the end and return the server's close code."""
    async for message in socket:
        assert message.type is WSMsgType.TEXT
    return socket.close_code


def flow_of(socket: ClientWebSocketResponse) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return how a client stops reading, and how it begins again."""
    connection = socket._response.connection
    assert connection is not None
    transport = connection.transport
    assert isinstance(transport, asyncio.Transport)
    return transport.pause_reading, transport.resume_reading


def kept() -> int:
    """Return how much there is of connections in this process."""
    return sum(isinstance(each, Connection | WebSocket) for each in gc.get_objects())


async def test_a_connection_has_who_and_from_where_and_lasts_as_long_as_it_is_open(start: Start) -> None:
    browser, before = await start(), metric("live_connections")
    async with browser.ws_connect("/ws-live", headers={**COOKIE, "User": "ben", "X-Forwarded-For": "203.0.113.5"}):
        (connection,) = app_of(browser)[CONNECTIONS]
        assert (connection.identity.user, connection.cookie) == ("ben", "session=1")
        assert connection.address == "203.0.113.5"
        assert metric("live_connections") - before == 1
    await until(lambda: not app_of(browser)[CONNECTIONS])
    assert metric("live_connections") == before


async def test_nothing_of_a_connection_that_is_over_waits_for_the_garbage_collector_least_its_cookie(
    start: Start,
) -> None:
    browser = await start()
    gc.collect()
    gc.disable()
    try:
        before = kept()
        async with browser.ws_connect("/ws-live", headers=COOKIE):
            assert kept() == before + 2
        await until(lambda: not app_of(browser)[CONNECTIONS])
        for _ in range(3):  # what has ended it ends itself
            await asyncio.sleep(0)
        assert kept() == before
    finally:
        gc.enable()


async def test_the_beginning_and_the_end_of_a_connection_are_told(
    environ: dict[str, str], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, Connection]] = []

    async def connected(connection: Connection) -> None:
        told.append(("connected", connection))

    async def disconnected(connection: Connection) -> None:
        told.append(("disconnected", connection))

    def setup(app: web.Application) -> None:
        app[CONNECTED].append(connected)
        app[DISCONNECTED].append(disconnected)

    monkeypatch.setattr("tests.core.door.listen", setup, raising=False)
    browser = await start(**{**environ, "LIVE_PLUGINS": "tests.core.door:listen"})
    async with browser.ws_connect("/ws-live", headers=COOKIE):
        await until(lambda: bool(told))
        (connection,) = app_of(browser)[CONNECTIONS]
    await until(lambda: len(told) == 2)
    assert told == [("connected", connection), ("disconnected", connection)]


async def test_what_a_client_says_while_a_plugin_is_told_of_it_waits_for_its_turn(
    environ: dict[str, str], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, may_go_on = asyncio.Event(), asyncio.Event()

    async def connected(_: Connection) -> None:
        told.set()
        await may_go_on.wait()

    monkeypatch.setattr("tests.core.door.listen", lambda app: app[CONNECTED].append(connected), raising=False)
    browser = await start(**{**environ, "LIVE_PLUGINS": "tests.core.door:listen"})
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        await told.wait()
        await socket.send_json({"type": "unsubscribe", "topic": "event:1"})
        async with browser.get("/") as response:  # by then that would have been read
            assert response.status == 426
        may_go_on.set()
        assert await socket.receive_json(timeout=5) == {"type": "unsubscribed", "topic": "event:1"}


async def test_who_hangs_up_while_a_plugin_is_told_of_a_subscribe_is_not_there_for_any_other(
    environ: dict[str, str], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_of: list[str] = []
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(_connection: Connection, _topic: str) -> None:
        begun.set()
        await gate.wait()

    async def subscribed(_connection: Connection, topic: str) -> None:
        told_of.append(f"{topic} has a viewer")

    async def unsubscribed(_connection: Connection, topic: str) -> None:
        told_of.append(f"{topic} has none")

    async def disconnected(_: Connection) -> None:
        told_of.append("gone")

    def setup(app: web.Application) -> None:
        app[AUTHORIZE].fill(allow)
        app[SUBSCRIBED].extend([slow, subscribed])
        app[UNSUBSCRIBED].append(unsubscribed)
        app[DISCONNECTED].append(disconnected)

    monkeypatch.setattr("tests.core.door.listen", setup, raising=False)
    browser = await start(**{**environ, "LIVE_PLUGINS": "tests.core.door:listen"})
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        await socket.send_json({"type": "subscribe", "topic": "1"})
        await begun.wait()
    await until(lambda: not app_of(browser)[CONNECTIONS])
    assert app_of(browser)[SEATS].taken, "for a stop waits until the plugins are told"
    gate.set()
    await until(lambda: not app_of(browser)[SEATS].taken)
    assert told_of == ["1 has a viewer", "1 has none", "gone"]


async def test_a_plugin_that_hangs_holds_back_no_goodbye_and_keeps_no_seat(
    environ: dict[str, str], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [Verdict.ALLOW, Verdict.SESSION_ENDED]

    async def authorize(_connection: Connection, _topic: str) -> Verdict:
        return verdicts.pop(0)

    async def hang(_connection: Connection, _topic: str) -> None:
        await asyncio.Event().wait()

    def setup(app: web.Application) -> None:
        app[AUTHORIZE].fill(authorize)
        app[UNSUBSCRIBED].append(hang)

    monkeypatch.setattr(signals, "RECEIVER_SECONDS", 3_600)
    monkeypatch.setattr(endpoint, "RECEIVER_SECONDS", 0.01)
    monkeypatch.setattr("tests.core.door.listen", setup, raising=False)
    browser = await start(**{**environ, "LIVE_PLUGINS": "tests.core.door:listen"})
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        for answer in ("subscribed", "error"):
            await socket.send_json({"type": "subscribe", "topic": "1"})
            assert (await socket.receive_json(timeout=5))["type"] == answer
        assert await close_code(socket) == 4401
    await until(lambda: not app_of(browser)[SEATS].taken)


async def test_what_a_client_says_is_answered_on_the_socket(start: Start) -> None:
    browser = await start()
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        await socket.send_json({"type": "unsubscribe", "topic": "event:1"})
        assert await socket.receive_json() == {"type": "unsubscribed", "topic": "event:1"}
        await socket.send_bytes(b"{}")
        assert (await socket.receive_json())["code"] == "invalid-message"


async def test_a_message_may_have_4_kib_and_not_a_byte_more(start: Start) -> None:
    browser = await start()
    longest = json.dumps({"type": "unsubscribe", "topic": ""})
    longest = json.dumps({"type": "unsubscribe", "topic": "x" * (4_096 - len(longest))})
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        await socket.send_str(longest)
        assert (await socket.receive_json())["type"] == "unsubscribed"
        await socket.send_str(longest + " ")
        assert await close_code(socket) == 1009


@pytest.mark.parametrize(("code", "label"), [(1000, "1000"), (4000, "other")])
async def test_a_clients_own_close_is_counted_by_its_code_if_that_is_known(start: Start, code: int, label: str) -> None:
    browser, before = await start(), metric("live_disconnects_total", code=label)
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        await socket.close(code=code)
    await until(lambda: metric("live_disconnects_total", code=label) - before == 1)


async def test_a_connection_that_breaks_counts_as_1006(start: Start) -> None:
    browser, before = await start(), metric("live_disconnects_total", code="1006")
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        assert socket._response.connection is not None
        assert socket._response.connection.transport is not None
        socket._response.connection.transport.abort()
        await until(lambda: metric("live_disconnects_total", code="1006") - before == 1)
    assert app_of(browser)[CONNECTIONS] == {}


async def test_a_stop_says_goodbye_to_everybody_with_1012_and_lets_nobody_in(start: Start) -> None:
    browser = await start()
    async with (
        browser.ws_connect("/ws-live", headers=COOKIE) as one,
        browser.ws_connect("/ws-live", headers=COOKIE) as other,
    ):
        _, *codes = await asyncio.gather(drain(app_of(browser)), close_code(one), close_code(other))
        assert codes == [1012, 1012]
        async with browser.get("/ws-live") as response:
            assert response.status == 426


async def test_a_stop_spreads_its_goodbyes_as_far_as_the_drain_time_allows(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor_live.endpoint.GOODBYES_PER_SECOND", 10)
    browser, clock = await start(), asyncio.get_running_loop().time

    ends: list[float] = []

    async def see_off(socket: ClientWebSocketResponse) -> None:
        assert await close_code(socket) == 1012
        ends.append(clock())

    async with (
        browser.ws_connect("/ws-live", headers=COOKIE) as one,
        browser.ws_connect("/ws-live", headers=COOKIE) as two,
        browser.ws_connect("/ws-live", headers=COOKIE) as three,
    ):
        await asyncio.gather(drain(app_of(browser)), *[see_off(socket) for socket in (one, two, three)])
    assert max(ends) - min(ends) >= 0.1, "0.2 s, but for the moods of the machine"


async def test_who_is_behind_at_the_goodbye_gets_all_that_was_sent_and_the_close_frame(start: Start) -> None:
    browser, before = await start(), metric("live_disconnects_total", code="1012")
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        (connection,) = app_of(browser)[CONNECTIONS]
        pause, resume = flow_of(socket)
        pause()
        sent = 0
        while not connection._transport.get_write_buffer_size():
            connection.send(b"x" * 10_000)
            sent += 1
        stop = asyncio.create_task(drain(app_of(browser)))
        for _ in range(20):
            await asyncio.sleep(0)
        resume()
        received = [message async for message in socket]
        assert (len(received), socket.close_code) == (sent, 1012)
        await stop
    await until(lambda: metric("live_disconnects_total", code="1012") - before == 1)


async def test_who_reads_nothing_is_cut_when_the_drain_timeout_is_over(start: Start) -> None:
    browser, before = await start(LIVE_WS_DRAIN_TIMEOUT_MS="50"), metric("live_disconnects_total", code="1012")
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        (connection,) = app_of(browser)[CONNECTIONS]
        pause, resume = flow_of(socket)
        pause()
        while not connection.lagging:
            connection.send(b"x" * 10_000)
        started = asyncio.get_running_loop().time()
        await drain(app_of(browser))
        assert asyncio.get_running_loop().time() - started < GOODBYE_SECONDS
        await until(lambda: not app_of(browser)[CONNECTIONS])
        resume()
        assert await close_code(socket) == 1006
    assert metric("live_disconnects_total", code="1012") - before == 1


async def test_without_any_drain_time_everybody_is_told_nevertheless(start: Start) -> None:
    browser = await start(LIVE_WS_DRAIN_TIMEOUT_MS="0")
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket:
        _, code = await asyncio.gather(drain(app_of(browser)), close_code(socket))
        assert code == 1012


async def test_who_waits_at_the_door_when_it_stops_is_told_at_once(start: Start) -> None:
    asked = asyncio.Event()

    @web.middleware
    async def hang(_request: web.Request, handler: Handler) -> web.StreamResponse:  # noqa: ARG001 - aiohttp names it
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody answers")

    browser, before = await start(hang), metric("live_handshakes_total", status="503")
    knocking = asyncio.create_task(browser.get("/ws-live", headers=HANDSHAKE))
    await asked.wait()
    await drain(app_of(browser))
    async with await knocking as response:
        assert (response.status, "Retry-After" in response.headers) == (503, True)
    assert metric("live_handshakes_total", status="503") - before == 1


async def test_a_middleware_that_has_timed_out_by_itself_is_no_stop(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    @web.middleware
    async def late(_request: web.Request, handler: Handler) -> web.StreamResponse:  # noqa: ARG001 - aiohttp names it
        raise TimeoutError

    browser, before = await start(late), metric("live_handshakes_total", status="504")
    async with browser.get("/ws-live", headers=HANDSHAKE) as response:
        assert response.status == 504, "which is aiohttp's own answer"
    assert metric("live_handshakes_total", status="504") - before == 1
    assert "Error handling request" in caplog.text
