"""Who lags is served as it reads, and given up when it does not."""

import asyncio

import pytest

from processor_live import laggards as module
from processor_live.laggards import Laggards
from tests.core.wire import Client, metric, until


def behind(laggards: Laggards, waiting: int = 1) -> Client:
    """Return a client that has just stopped reading, with 2,000 bytes in flight and so many of 600 waiting."""
    client = Client(threshold=1024, lag=laggards.add)
    client.transport.stall()
    client.connection.send(b"x" * 2_000)
    for _ in range(waiting):
        client.connection.send(b"x" * 600)
    assert client.connection.lagging
    return client


async def test_who_has_caught_up_is_not_looked_after_any_more() -> None:
    laggards, before, now = Laggards(60), metric("live_lagging_connections"), asyncio.get_running_loop().time()
    client = behind(laggards)
    assert metric("live_lagging_connections") - before == 1
    client.transport.read_all()
    laggards.look(now)
    assert metric("live_lagging_connections") == before
    assert not client.connection.lagging
    laggards.look(now + 3_600)
    assert client.connection.closing is None


async def test_who_reads_nothing_for_the_slow_timeout_is_closed_with_1013_and_not_before() -> None:
    laggards, now = Laggards(60), asyncio.get_running_loop().time()
    client = behind(laggards)
    laggards.look(now + 59)
    goodbye_in_time = client.connection.closing
    laggards.look(now + 61)
    assert goodbye_in_time is None
    assert await client.goodbye() == 1013


async def test_who_reads_ever_so_little_keeps_the_connection() -> None:
    laggards, now = Laggards(60), asyncio.get_running_loop().time()
    client = behind(laggards, waiting=10)
    for minute in range(1, 100):
        client.transport.read(10)
        laggards.look(now + minute * 59)
    goodbye_while_reading = client.connection.closing
    laggards.look(now + 99 * 59 + 61)
    assert goodbye_while_reading is None
    assert await client.goodbye() == 1013


async def test_what_is_handed_out_does_not_count_as_read() -> None:
    laggards, now = Laggards(60), asyncio.get_running_loop().time()
    client = behind(laggards, waiting=10)
    client.transport.read(client.transport.get_write_buffer_size())
    laggards.look(now + 10)
    assert client.transport.get_write_buffer_size() > 1024, "it was handed something"
    laggards.look(now + 20)
    laggards.look(now + 69)
    goodbye_in_time = client.connection.closing
    laggards.look(now + 71)
    assert goodbye_in_time is None
    assert await client.goodbye() == 1013


async def test_who_has_read_all_that_was_handed_out_is_not_blamed_for_a_loop_that_stood_still() -> None:
    laggards, now = Laggards(60), asyncio.get_running_loop().time()
    client = behind(laggards, waiting=10)
    client.transport.read_all()
    laggards.look(now)
    client.transport.stall()
    laggards.look(now + 61)
    goodbye_at_once = client.connection.closing
    laggards.look(now + 61 + 59)
    goodbye_in_time = client.connection.closing
    laggards.look(now + 61 + 61)
    assert (goodbye_at_once, goodbye_in_time) == (None, None)
    assert await client.goodbye() == 1013


async def test_who_has_gone_is_forgotten() -> None:
    laggards, before = Laggards(60), metric("live_lagging_connections")
    client = behind(laggards)
    laggards.discard(client.connection)
    laggards.discard(client.connection)
    assert metric("live_lagging_connections") == before
    laggards.look(asyncio.get_running_loop().time() + 3_600)
    assert client.connection.closing is None


async def test_one_who_is_given_up_does_not_keep_the_others_from_being_served() -> None:
    laggards, now = Laggards(60), asyncio.get_running_loop().time()
    lost, found = behind(laggards), behind(laggards)
    found.transport.read_all()
    laggards.look(now + 61)
    assert await lost.goodbye() == 1013
    assert len(found.frames) == 2


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
