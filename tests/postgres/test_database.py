"""Postgres is asked in time, over few connections, read-only, and through everything that goes wrong."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from aiohttp import web

from processor_live import StartError, one_line
from processor_live_demo.embedded import free_port
from processor_live_postgres.database import ROWS_PER_TURN, Database
from tests import servers
from tests.postgres.conftest import until_a_query_waits
from tests.running import EVENTUALLY_SECONDS, app_with, until

OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'processor-live'"
KEY = 7_214_091
"""Of an advisory lock: what a query waits for, for as long as the test wants."""

MakeDatabase = Callable[..., Database]


@pytest.fixture
async def make_database(postgres_url: str) -> AsyncIterator[MakeDatabase]:
    """Return a `Database` on the tests' Postgres, closed after the test."""
    contexts = []

    def make(url: str = postgres_url, *, size: int = 2, statement_timeout_ms: int = 60_000) -> Database:
        database = Database(url, size=size, statement_timeout_ms=statement_timeout_ms)
        contexts.append(database.context(web.Application()))
        return database

    yield make
    for context in contexts:
        assert [each async for each in context] == [None]


def with_host(url: str, host: str, port: int, query: str = "") -> str:
    """Return a URL with another host and port."""
    user = urlsplit(url).netloc.rpartition("@")[0]
    return urlsplit(url)._replace(netloc=f"{user}@{host}:{port}" if user else f"{host}:{port}", query=query).geturl()


async def test_all_rows_of_a_query_come_however_many(make_database: MakeDatabase) -> None:
    total = 2 * ROWS_PER_TURN + 1
    rows = await make_database().rows("SELECT n, n::text FROM generate_series(1, %s) AS n", (total,))
    assert rows == [(number, str(number)) for number in range(1, total + 1)]


async def test_no_rows_are_an_empty_list(make_database: MakeDatabase) -> None:
    assert await make_database().rows("SELECT 1 WHERE false") == []


async def test_a_statement_that_takes_too_long_is_a_timeout_and_the_next_one_works(
    make_database: MakeDatabase,
) -> None:
    """And not a `CancelledError`, as which aiopg reports it: inside a task that would be silence."""
    database = make_database(size=1, statement_timeout_ms=250)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="cancelled the statement"):
            await database.rows("SELECT pg_sleep(60)")
        assert await database.rows("SELECT 1") == [(1,)]


async def test_a_timeout_inside_a_task_group_is_not_lost(make_database: MakeDatabase) -> None:
    database = make_database(statement_timeout_ms=50)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(database.rows("SELECT pg_sleep(60)"))
    assert caught.group_contains(TimeoutError)


@pytest.mark.usefixtures("database")
async def test_nothing_can_be_written(make_database: MakeDatabase, database: servers.Database) -> None:
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        await make_database().rows("INSERT INTO devices VALUES (gen_random_uuid(), '1') RETURNING 1")
    assert database.execute("SELECT * FROM devices") == []


async def test_an_error_of_a_statement_is_told_and_the_next_one_works(make_database: MakeDatabase) -> None:
    database = make_database(size=1)
    with pytest.raises(psycopg2.errors.UndefinedTable, match="nowhere"):
        await database.rows("SELECT * FROM nowhere")
    assert await database.rows("SELECT 1") == [(1,)]


async def test_options_of_the_url_are_kept(make_database: MakeDatabase, postgres_url: str) -> None:
    database = make_database(f"{postgres_url}?options=-csearch_path%3Dpg_catalog&application_name=mine")
    [row] = await database.rows(
        "SELECT current_setting('search_path'), current_setting('default_transaction_read_only'),"
        " current_setting('application_name'), current_setting('statement_timeout')"
    )
    assert row == ("pg_catalog", "on", "mine", "1min")


@pytest.fixture
def lock(database: servers.Database) -> Iterator[None]:
    """Hold the advisory lock KEY."""
    database.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    yield
    database.execute("SELECT pg_advisory_unlock_all()")


async def test_no_more_connections_than_its_size_are_open_and_they_are_used_again(
    make_database: MakeDatabase, database: servers.Database
) -> None:
    pool = make_database(size=2)
    database.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    queries = [
        asyncio.create_task(
            pool.rows("SELECT pg_backend_pid() FROM (SELECT pg_advisory_lock_shared(%s) IS NULL) AS held", (KEY,))
        )
        for _ in range(6)
    ]
    await until(lambda: len(database.execute(f"SELECT 1 {OURS} AND wait_event = 'advisory'")) == 2)
    [[connections]] = database.execute(f"SELECT count(*) {OURS}")
    database.execute("SELECT pg_advisory_unlock(%s)", (KEY,))
    backends = {backend for [[backend]] in await asyncio.gather(*queries)}
    assert connections == len(backends) == 2


@pytest.mark.usefixtures("lock")
async def test_a_caller_who_is_cancelled_leaves_and_gives_its_place_back(
    make_database: MakeDatabase, database: servers.Database
) -> None:
    pool = make_database(size=1)
    query = asyncio.create_task(pool.rows("SELECT pg_advisory_lock(%s)", (KEY,)))
    await until_a_query_waits(database)
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query
    assert query.cancelled()
    assert await pool.rows("SELECT 1") == [(1,)]


@pytest.mark.usefixtures("lock")
async def test_a_caller_whose_patience_ends_gets_a_timeout(
    make_database: MakeDatabase,
) -> None:
    pool = make_database(size=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.rows("SELECT pg_advisory_lock(%s)", (KEY,))
    assert await pool.rows("SELECT 1") == [(1,)]


async def test_connections_that_a_restart_has_killed_are_replaced_unnoticed(
    make_database: MakeDatabase, database: servers.Database
) -> None:
    pool = make_database(size=3)
    asked = [pool.rows("SELECT pg_backend_pid(), pg_sleep(0.05)") for _ in range(3)]
    idle = {row[0] for [row] in await asyncio.gather(*asked)}
    assert len(idle) == 3
    killed = database.execute(f"SELECT pg_terminate_backend(pid, 5000) {OURS}")
    assert killed == [(True,)] * 3
    for _ in range(4):
        [(backend,)] = await pool.rows("SELECT pg_backend_pid()")
        assert backend not in idle
    assert len(pool._idle) == 1, "the dead are not kept"
    assert database.execute(f"SELECT count(*) {OURS}") == [(1,)]


async def test_a_statement_that_fails_on_a_fresh_connection_is_not_repeated(
    make_database: MakeDatabase, database: servers.Database
) -> None:
    pool = make_database()
    with pytest.raises(psycopg2.OperationalError):
        await pool.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await pool.rows("SELECT 1") == [(1,)]
    assert database.execute(f"SELECT count(*) {OURS}") == [(1,)]


async def test_at_the_end_all_connections_are_closed(postgres_url: str, database: servers.Database) -> None:
    pool = Database(postgres_url, size=2, statement_timeout_ms=1_000)
    context = aiter(pool.context(web.Application()))
    await anext(context)
    await asyncio.gather(*[pool.rows("SELECT pg_sleep(0.05)") for _ in range(2)])
    with pytest.raises(StopAsyncIteration):
        await anext(context)
    await until(lambda: not database.execute(f"SELECT 1 {OURS}"))


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Listen on 127.0.0.1 only, and yield the port; in the end, wait until all who connected have hung up."""
    conversations: list[asyncio.Task[None]] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        while await reader.read(65_536):
            pass
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.append(asyncio.create_task(converse(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            await asyncio.gather(*conversations)


@asynccontextmanager
async def relay_to(url: str) -> AsyncIterator[int]:
    """Let a port of 127.0.0.1, and of no other address, lead to a server."""
    there = urlsplit(url)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.write_eof()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(there.hostname, there.port)
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))
        to_writer.close()
        await to_writer.wait_closed()

    async with listening(serve) as port:
        yield port


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every host name have these addresses."""

    async def getaddrinfo(_host: str, port: object, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_a_host_whose_first_address_refuses_is_reached_at_its_second(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself, aiopg hangs here for a minute."""
    async with relay_to(postgres_url) as port, asyncio.timeout(EVENTUALLY_SECONDS):
        database = make_database(with_host(postgres_url, "postgres.example", port))
        with monkeypatch.context() as patch:
            resolve_to(patch, "127.0.0.2", "::1", "127.0.0.1")
            assert await database.rows("SELECT 1") == [(1,)]
        await database._forget_idle()


async def test_a_host_without_a_living_address_fails_at_once(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = make_database(with_host(postgres_url, "postgres.example", free_port()))
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        with monkeypatch.context() as patch:
            resolve_to(patch, "127.0.0.1", "127.0.0.1")
            with pytest.raises(psycopg2.OperationalError):
                await database.rows("SELECT 1")
        with monkeypatch.context() as patch:
            resolve_to(patch)
            with pytest.raises(OSError, match="no address"):
                await database.rows("SELECT 1")


async def test_a_host_that_accepts_and_says_nothing_is_given_up(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor_live_postgres.database.CONNECT_SECONDS", 0.1)

    async def say_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    async with listening(say_nothing) as port:
        with pytest.raises(TimeoutError):
            await make_database(with_host(postgres_url, "127.0.0.1", port)).rows("SELECT 1")


PASSWORD = "q8zz7secret"


def chain(error: BaseException | None) -> str:
    """Return all that a traceback would say of an error and of those before it."""
    return "" if error is None else f"{one_line(error)} {error!r} {chain(error.__cause__ or error.__context__)}"


async def test_an_unreachable_server_is_told_without_the_password(make_database: MakeDatabase) -> None:
    database = make_database(f"postgresql://live:{PASSWORD}@127.0.0.1:{free_port()}/rally")
    with pytest.raises(psycopg2.OperationalError) as caught:
        await database.rows("SELECT 1")
    assert PASSWORD not in chain(caught.value)


async def test_a_wrong_password_is_told_without_it(make_database: MakeDatabase) -> None:
    """The server is played, because those of the tests trust everybody (PostgreSQL's protocol 3.0)."""
    passwords = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            startup = await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
            if startup[:4] == (196_608).to_bytes(4):
                break
            writer.write(b"N")  # neither TLS nor GSSAPI
        writer.write(b"R" + (8).to_bytes(4) + (3).to_bytes(4))
        await reader.readexactly(1)
        passwords.append(await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4))
        fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "live"\0\0'
        writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
        writer.write_eof()

    async with listening(serve) as port:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed") as caught:
            await make_database(f"postgresql://live:{PASSWORD}@127.0.0.1:{port}/rally").rows("SELECT 1")
    assert passwords == [PASSWORD.encode() + b"\0"]
    assert PASSWORD not in chain(caught.value)


@pytest.mark.parametrize("plugin", ["snapshot", "routing"])
@pytest.mark.parametrize(
    "host",
    [f"live:{PASSWORD}%zz@h/d", f"live:{PASSWORD}/x@h/d", f"live:{PASSWORD}@h/d?{PASSWORD}=1", f"live:x@[{PASSWORD}/d"],
)
async def test_a_url_that_cannot_be_read_stops_the_start_with_a_line_that_holds_no_password(
    plugin: str, host: str
) -> None:
    with pytest.raises(StartError) as caught:
        app_with(plugin, POSTGRES_URL=f"postgresql://{host}")
    assert "POSTGRES_URL" in str(caught.value)
    assert PASSWORD not in chain(caught.value.__cause__) + str(caught.value)
    assert "\n" not in str(caught.value)
