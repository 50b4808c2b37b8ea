"""Signals tell every receiver after the fact, and no receiver can keep another from being told."""

import asyncio

import pytest
from aiohttp import web

from processor_live.connection import Connection
from processor_live.signals import CONNECTED, DISCONNECTED, SUBSCRIBED, UNSUBSCRIBED, add_signals, tell
from tests.core.wire import Client, metric


@pytest.fixture
def app() -> web.Application:
    """An application with the four signals."""
    app = web.Application()
    add_signals(app)
    return app


async def test_every_receiver_is_told_in_order(app: web.Application) -> None:
    told: list[tuple[str, Connection, str]] = []
    connection = Client().connection

    async def first(who: Connection, topic: str) -> None:
        told.append(("first", who, topic))

    async def second(who: Connection, topic: str) -> None:
        told.append(("second", who, topic))

    app[SUBSCRIBED].append(first)
    app[SUBSCRIBED].append(second)
    await tell(app[SUBSCRIBED], connection, "event:1")
    assert told == [("first", connection, "event:1"), ("second", connection, "event:1")]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LookupError("no such thing"), "LookupError: no such thing"),
        (asyncio.CancelledError("by nobody"), "StrayCancellationError: by nobody"),
    ],
    ids=["error", "cancelled"],
)
async def test_a_receiver_that_raises_is_logged_and_counted_and_the_next_is_told(
    app: web.Application, caplog: pytest.LogCaptureFixture, error: BaseException, line: str
) -> None:
    before, told = metric("live_plugin_failures_total", call="signal"), []

    async def faulty(_: Connection) -> None:
        raise error

    async def after(who: Connection) -> None:
        told.append(who)

    app[CONNECTED].append(faulty)
    app[CONNECTED].append(after)
    connection = Client().connection
    await tell(app[CONNECTED], connection)
    assert told == [connection]
    assert metric("live_plugin_failures_total", call="signal") - before == 1
    (record,) = caplog.records
    assert "signal.failed" in record.message
    assert "faulty" in record.message
    assert line in record.message


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
