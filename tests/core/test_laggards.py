"""Who lags is served as it reads, and given up when it does not."""

import asyncio
from collections.abc import Callable

import pytest

from processor_live import laggards as module
from processor_live.laggards import Laggards
from tests.core.wire import Client, metric, turns_of, until

SetClock = Callable[[float], None]


@pytest.fixture
async def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Let it be so many seconds after the beginning of the test, and stay so."""

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: seconds)

    set_clock(0)
    return set_clock


def behind(laggards: Laggards, waiting: int = 1) -> Client:
    """Return a client that has just stopped reading, with 2,000 bytes in flight and so many of 600 waiting."""
    client = Client(threshold=1024, lag=laggards.add)
    client.transport.stall()
    client.connection.send(b"x" * 2_000)
    for _ in range(waiting):
        client.connection.send(b"x" * 600)
    assert client.connection.lagging
    return client


async def test_who_has_caught_up_is_not_looked_after_any_more(set_clock: SetClock) -> None:
    laggards, before = Laggards(60), metric("live_lagging_connections")
    client = behind(laggards)
    assert metric("live_lagging_connections") - before == 1
    client.transport.read_all()
    await laggards.look()
    assert metric("live_lagging_connections") == before
    assert not client.connection.lagging
    set_clock(3_600)
    await laggards.look()
    assert client.connection.closing is None


async def test_who_reads_nothing_for_the_slow_timeout_is_closed_with_1013_and_not_before(set_clock: SetClock) -> None:
    laggards = Laggards(60)
    client = behind(laggards)
    set_clock(59)
    await laggards.look()
    goodbye_in_time = client.connection.closing
    set_clock(61)
    await laggards.look()
    assert goodbye_in_time is None
    assert await client.goodbye() == 1013


async def test_who_reads_ever_so_little_keeps_the_connection(set_clock: SetClock) -> None:
    laggards = Laggards(60)
    client = behind(laggards, waiting=10)
    for minute in range(1, 100):
        client.transport.read(10)
        set_clock(minute * 59)
        await laggards.look()
    goodbye_while_reading = client.connection.closing
    set_clock(99 * 59 + 61)
    await laggards.look()
    assert goodbye_while_reading is None
    assert await client.goodbye() == 1013


async def test_what_is_handed_out_does_not_count_as_read(set_clock: SetClock) -> None:
    laggards = Laggards(60)
    client = behind(laggards, waiting=10)
    client.transport.read(client.transport.get_write_buffer_size())
    set_clock(10)
    await laggards.look()
    assert client.transport.get_write_buffer_size() > 1024, "it was handed something"
    set_clock(20)
    await laggards.look()
    set_clock(69)
    await laggards.look()
    goodbye_in_time = client.connection.closing
    set_clock(71)
    await laggards.look()
    assert goodbye_in_time is None
    assert await client.goodbye() == 1013


async def test_who_has_read_all_that_was_handed_out_is_not_blamed_for_a_loop_that_stood_still(
    set_clock: SetClock,
) -> None:
    laggards = Laggards(60)
    client = behind(laggards, waiting=10)
    client.transport.read_all()
    await laggards.look()
    client.transport.stall()
    set_clock(61)
    await laggards.look()
    goodbye_at_once = client.connection.closing
    set_clock(61 + 59)
    await laggards.look()
    goodbye_in_time = client.connection.closing
    set_clock(61 + 61)
    await laggards.look()
    assert (goodbye_at_once, goodbye_in_time) == (None, None)
    assert await client.goodbye() == 1013


async def test_who_has_gone_is_forgotten(set_clock: SetClock) -> None:
    laggards, before = Laggards(60), metric("live_lagging_connections")
    client = behind(laggards)
    laggards.discard(client.connection)
    laggards.discard(client.connection)
    assert metric("live_lagging_connections") == before
    set_clock(3_600)
    await laggards.look()
    assert client.connection.closing is None


async def test_one_who_is_given_up_does_not_keep_the_others_from_being_served(set_clock: SetClock) -> None:
    laggards = Laggards(60)
    lost, found = behind(laggards), behind(laggards)
    found.transport.read_all()
    set_clock(61)
    await laggards.look()
    assert await lost.goodbye() == 1013
    assert len(found.frames) == 2


async def test_looking_after_many_lets_others_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0)
    laggards = Laggards(60)
    clients = [behind(laggards) for _ in range(5)]
    for client in clients:
        client.transport.read_all()
    assert await turns_of(laggards.look()) >= 5
    assert not any(client.connection.lagging for client in clients)


async def test_who_goes_while_others_are_looked_after_is_forgotten(
    set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0)
    laggards, before = Laggards(60), metric("live_lagging_connections")
    stays, goes = behind(laggards), behind(laggards)
    set_clock(61)
    look = asyncio.create_task(laggards.look())
    await until(lambda: stays.connection.closing is not None)
    laggards.discard(goes.connection)
    await look
    set_clock(3_600)
    await laggards.look()
    assert goes.connection.closing is None
    laggards.discard(stays.connection)
    assert metric("live_lagging_connections") == before


async def test_while_it_runs_clients_are_served_as_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0)
    laggards = Laggards(60)
    run = asyncio.create_task(laggards.run())
    for _ in range(2):  # it goes to sleep in between
        client = behind(laggards, waiting=5)
        client.transport.read_all()
        await until(lambda client=client: not client.connection.lagging)  # type: ignore[misc] # bound now
        assert len(client.frames) == 6
    run.cancel()
    await asyncio.wait([run])
