"""Signals tell every receiver after the fact, and no receiver can keep another from being told."""

import asyncio

import pytest
from aiohttp import web

from processor_live import signals
from processor_live.connection import Connection
from processor_live.signals import CONNECTED, DISCONNECTED, SUBSCRIBED, UNSUBSCRIBED, add_signals, tell, told
from tests.core.wire import Client, metric


@pytest.fixture
def app() -> web.Application:
    """An application with the four signals."""
    app = web.Application()
    add_signals(app)
    return app


async def test_every_receiver_is_told_in_order(app: web.Application) -> None:
    told_of: list[tuple[str, Connection, str]] = []
    connection = Client().connection

    async def first(who: Connection, topic: str) -> None:
        told_of.append(("first", who, topic))

    async def second(who: Connection, topic: str) -> None:
        told_of.append(("second", who, topic))

    app[SUBSCRIBED].append(first)
    app[SUBSCRIBED].append(second)
    tell(app[SUBSCRIBED], connection, "event:1")
    await told(connection)
    assert told_of == [("first", connection, "event:1"), ("second", connection, "event:1")]


@pytest.mark.parametrize(
    ("error", "name"), [(LookupError, "LookupError"), (asyncio.CancelledError, "StrayCancellationError")]
)
async def test_a_receiver_that_raises_is_logged_and_counted_and_the_next_is_told(
    app: web.Application, caplog: pytest.LogCaptureFixture, error: type[BaseException], name: str
) -> None:
    before, told_of = metric("live_plugin_failures_total", call="signal"), []

    async def faulty(_: Connection) -> None:
        raise error("no such thing")

    async def after(who: Connection) -> None:
        told_of.append(who)

    app[CONNECTED].append(faulty)
    app[CONNECTED].append(after)
    connection = Client().connection
    tell(app[CONNECTED], connection)
    await told(connection)
    assert told_of == [connection]
    assert metric("live_plugin_failures_total", call="signal") - before == 1
    (record,) = caplog.records
    assert "signal.failed" in record.message
    assert "faulty" in record.message
    assert f"{name}: no such thing" in record.message


async def test_one_that_hangs_is_given_up_and_the_next_is_told(
    app: web.Application, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signals, "RECEIVER_SECONDS", 0.01)
    before, told_of = metric("live_plugin_failures_total", call="signal"), []

    async def hang(_: Connection) -> None:
        await asyncio.Event().wait()

    async def after(who: Connection) -> None:
        told_of.append(who)

    app[CONNECTED].extend([hang, after])
    connection = Client().connection
    tell(app[CONNECTED], connection)
    await told(connection)
    assert told_of == [connection]
    assert metric("live_plugin_failures_total", call="signal") - before == 1
    assert "TimeoutError" in caplog.text


async def test_what_happens_to_one_connection_is_told_in_its_order_and_no_other_waits_for_it(
    app: web.Application,
) -> None:
    told_of: list[tuple[str, Connection]] = []
    slow, other = Client().connection, Client().connection
    gate = asyncio.Event()

    async def connected(who: Connection) -> None:
        if who is slow:
            await gate.wait()
        told_of.append(("connected", who))

    async def disconnected(who: Connection) -> None:
        told_of.append(("disconnected", who))

    app[CONNECTED].append(connected)
    app[DISCONNECTED].append(disconnected)
    for connection in (slow, other):
        tell(app[CONNECTED], connection)
        tell(app[DISCONNECTED], connection)
    await told(other)
    assert told_of == [("connected", other), ("disconnected", other)]
    gate.set()
    await told(slow)
    assert told_of[2:] == [("connected", slow), ("disconnected", slow)]


async def test_who_no_longer_waits_until_all_is_told_stops_nothing(app: web.Application) -> None:
    told_of: list[Connection] = []
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(_: Connection) -> None:
        begun.set()
        await gate.wait()

    async def after(who: Connection) -> None:
        told_of.append(who)

    app[CONNECTED].extend([slow, after])
    connection = Client().connection
    tell(app[CONNECTED], connection)
    waiting = asyncio.create_task(told(connection))
    await begun.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.set()
    await told(connection)
    assert told_of == [connection]


async def test_receivers_are_taken_until_the_application_starts(app: web.Application) -> None:
    async def receiver(*_: object) -> None: ...

    for signal in (app[CONNECTED], app[DISCONNECTED]):
        signal.append(receiver)
    app.freeze()
    await app.startup()
    for signal in (app[CONNECTED], app[DISCONNECTED]):
        with pytest.raises(RuntimeError, match="frozen"):
            signal.append(receiver)
    for late in (app[SUBSCRIBED], app[UNSUBSCRIBED]):
        with pytest.raises(RuntimeError, match="frozen"):
            late.append(receiver)
