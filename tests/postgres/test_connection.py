"""A connection tells who waits for it what has failed, whatever the number of its descriptor, and nobody else."""

import asyncio
import gc
import os
import resource
import socket
import weakref
from collections.abc import AsyncIterator, Iterator

import psycopg2
import pytest
from psycopg2.errors import QueryCanceled, UndefinedTable

from processor_live_demo.embedded import free_port
from processor_live_postgres.connection import Connection
from tests.running import EVENTUALLY_SECONDS, until
from tests.servers import Database

SELECT_KNOWS = 1_024
"""select(2) knows the descriptors below this one; a service with as many viewers uses those above."""


@pytest.fixture(params=["few", "many"], autouse=True)
def viewers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Few descriptors are open, or as many as a thousand viewers have."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4 * SELECT_KNOWS, limits[1]), limits[1]))
    held = [os.open(os.devnull, os.O_RDONLY)]
    while request.param == "many" and held[-1] < SELECT_KNOWS:
        held.append(os.open(os.devnull, os.O_RDONLY))
    yield
    for descriptor in held:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged: neither by aiopg nor by the loop."""
    yield
    assert caplog.records == []


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    """An open connection."""
    connection = await Connection.to(postgres_url)
    yield connection
    await connection.close()


async def rows(connection: Connection, query: str) -> list[tuple[object, ...]]:
    """Run a query and return its rows."""
    async with asyncio.timeout(EVENTUALLY_SECONDS), connection.cursor() as cursor:
        await cursor.execute(query)
        return list(await cursor.fetchall())


async def test_a_statement_that_fails_says_why_and_the_connection_is_as_good_as_before(connection: Connection) -> None:
    with pytest.raises(UndefinedTable, match="nowhere"):
        await rows(connection, "SELECT * FROM nowhere")
    assert await rows(connection, "SELECT 1") == [(1,)]


async def test_a_statement_that_has_failed_leaves_nobody_in_memory_who_waited_for_it(connection: Connection) -> None:
    """A traceback knows the viewer and his cookie, and the connection serves others for days."""

    class Viewer:
        pass

    async def subscribe() -> "weakref.ref[Viewer]":
        viewer = Viewer()
        with pytest.raises(UndefinedTable):
            await rows(connection, "SELECT * FROM nowhere")
        return weakref.ref(viewer)

    gone = await subscribe()
    await asyncio.sleep(0)  # the loop, too, knows until the end of this turn what has begun it
    gc.collect()
    assert gone() is None


async def test_a_statement_that_the_server_cancels_is_not_taken_for_a_caller_who_leaves(connection: Connection) -> None:
    await rows(connection, "SELECT set_config('statement_timeout', '50', false)")
    with pytest.raises(QueryCanceled, match="statement timeout"):
        await rows(connection, "SELECT pg_sleep(60)")
    assert await rows(connection, "SELECT 1") == [(1,)]


async def test_a_caller_who_leaves_while_waiting_leaves_it_closed(connection: Connection, database: Database) -> None:
    asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    backend = connection.raw.info.backend_pid
    waiting = asyncio.create_task(rows(connection, "SELECT pg_sleep(60)"))
    await until(lambda: database.execute(asleep, (backend,)))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert connection.closed
    database.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))


async def test_a_server_that_refuses_is_told_at_once() -> None:
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        with pytest.raises(psycopg2.OperationalError, match="refused"):
            _ = await Connection.to(f"postgresql://live@127.0.0.1:{free_port()}/rally")


async def test_a_connection_that_dies_in_the_middle_of_a_statement_says_so(connection: Connection) -> None:
    with pytest.raises((psycopg2.OperationalError, psycopg2.InterfaceError)):
        await rows(connection, "SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_connection_that_dies_while_nobody_asks_leaves_its_descriptor_to_others(
    connection: Connection, database: Database
) -> None:
    """The next viewer gets that number, and the loop must not take him for what it knew."""
    number = connection.raw.fileno()
    database.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.raw.info.backend_pid,))
    await until(lambda: connection.closed)
    loop, writable = asyncio.get_running_loop(), asyncio.Event()
    viewer = socket.socket().detach()
    os.dup2(viewer, number)
    loop.add_writer(number, writable.set)
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        await writable.wait()
    loop.remove_writer(number)
    for descriptor in {viewer, number}:
        os.close(descriptor)
