"""Postgres is asked in time, over few connections, read-only, and through everything that goes wrong."""

import asyncio
import gc
import uuid
from urllib.parse import urlsplit

import psycopg2
import pytest
from aiohttp import web

from processor_live_postgres.database import ROWS_PER_TURN, Database
from tests import servers
from tests.postgres.conftest import OURS, MakeDatabase, until_a_query_waits
from tests.running import EVENTUALLY_SECONDS, until

KEY = 7_214_091
"""Of an advisory lock: what a query waits for, for as long as the test wants."""
HOLD = "SELECT pg_backend_pid() FROM (SELECT pg_advisory_lock_shared(%s) IS NULL) AS held"
"""Such a query, which tells in the end who has run it."""


async def test_all_rows_of_a_query_come_however_many(make_database: MakeDatabase) -> None:
    total = 2 * ROWS_PER_TURN + 1
    rows = await make_database().rows("SELECT n, n::text FROM generate_series(1, %s) AS n", (total,))
    assert rows == [(number, str(number)) for number in range(1, total + 1)]


async def test_no_rows_are_an_empty_list(make_database: MakeDatabase) -> None:
    assert await make_database().rows("SELECT 1 WHERE false") == []


async def test_a_statement_that_takes_too_long_is_a_timeout_and_the_next_one_works(
    make_database: MakeDatabase,
) -> None:
    database = make_database(size=1, timeout_ms=250)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="no answer within 250 ms"):
            await database.rows("SELECT pg_sleep(60)")
        await until(lambda: not database._queries)
        assert await database.rows("SELECT 1") == [(1,)]


async def test_a_timeout_inside_a_task_group_is_not_lost(make_database: MakeDatabase) -> None:
    database = make_database(timeout_ms=50)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(database.rows("SELECT pg_sleep(60)"))
    assert caught.group_contains(TimeoutError)


@pytest.mark.usefixtures("database")
async def test_nothing_can_be_written(make_database: MakeDatabase, database: servers.Database) -> None:
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        await make_database().rows("INSERT INTO devices VALUES (gen_random_uuid(), '1') RETURNING 1")
    assert database.execute("SELECT * FROM devices") == []


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT * FROM nowhere", psycopg2.errors.UndefinedTable),
        ("SELECT pg_sleep(60)", TimeoutError),
        ("DO $$ BEGIN RAISE out_of_memory; END $$", psycopg2.errors.OutOfMemory),
    ],
)
async def test_an_error_of_a_statement_is_told_and_the_same_connection_serves_on(
    make_database: MakeDatabase, statement: str, error: type[Exception]
) -> None:
    """Closed, it would stay at the server for a moment more, beside the one that takes its place."""
    pool = make_database(size=1, timeout_ms=1_000)
    [[backend]] = await pool.rows("SELECT pg_backend_pid()")
    for _ in range(2):
        with pytest.raises(error):
            await pool.rows(statement)
        await until(lambda: not pool._queries)
        assert await pool.rows("SELECT pg_backend_pid()") == [(backend,)]


async def test_a_connection_on_which_our_own_end_has_failed_is_not_asked_again(make_database: MakeDatabase) -> None:
    """Who knows what it would answer? One that is taken for busy would fail all who come, for ever."""
    pool = make_database(size=1)
    [[backend]] = await pool.rows("SELECT pg_backend_pid()")
    with pytest.raises(psycopg2.ProgrammingError, match="no results to fetch"):
        await pool.rows("DO $$ BEGIN END $$")
    assert await pool.rows("SELECT pg_backend_pid()") != [(backend,)]


async def test_options_of_the_url_are_kept(make_database: MakeDatabase, postgres_url: str) -> None:
    database = make_database(f"{postgres_url}?options=-csearch_path%3Dpg_catalog&application_name=mine")
    [row] = await database.rows(
        "SELECT current_setting('search_path'), current_setting('default_transaction_read_only'),"
        " current_setting('application_name'), current_setting('statement_timeout')"
    )
    assert row == ("pg_catalog", "on", "mine", "1min")


async def test_no_more_connections_than_its_size_are_open_and_they_are_used_again(
    make_database: MakeDatabase, database: servers.Database
) -> None:
    pool = make_database(size=2)
    database.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    queries = [asyncio.create_task(pool.rows(HOLD, (KEY,))) for _ in range(6)]
    await until(lambda: len(database.execute(f"SELECT 1 {OURS} AND wait_event = 'advisory'")) == 2)
    [[connections]] = database.execute(f"SELECT count(*) {OURS}")
    database.execute("SELECT pg_advisory_unlock(%s)", (KEY,))
    backends = {backend for [[backend]] in await asyncio.gather(*queries)}
    assert connections == len(backends) == 2


async def test_who_leaves_while_the_server_is_busy_leaves_alone_and_the_next_one_waits_for_that_connection(
    make_database: MakeDatabase, database: servers.Database
) -> None:
    database.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    pool = make_database(size=1)
    query = asyncio.create_task(pool.rows(HOLD, (KEY,)))
    await until_a_query_waits(database)
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query
    following = asyncio.create_task(pool.rows("SELECT pg_backend_pid()"))
    [[backend]] = database.execute(f"SELECT pid {OURS}")
    database.execute("SELECT pg_advisory_unlock(%s)", (KEY,))
    assert await following == [(backend,)]


async def test_a_crowd_that_asks_a_server_that_hangs_never_has_more_connections_than_there_are_places(
    make_database: MakeDatabase, database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each leaves after its time; if its place went with it, the server would soon be full, for the writer too."""
    monkeypatch.setattr("processor_live_postgres.database.GRACE_SECONDS", EVENTUALLY_SECONDS)  # a machine may be busy
    database.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    pool = make_database(size=2, timeout_ms=400)
    crowd = []
    most = 0
    for _ in range(50):
        crowd.append(asyncio.create_task(pool.rows(HOLD, (KEY,))))
        await asyncio.sleep(0.02)
        [[connections]] = database.execute(f"SELECT count(*) {OURS}")
        most = max(most, connections)
    said = {str(failure) for failure in await asyncio.gather(*crowd, return_exceptions=True)}
    assert said == {"no answer within 400 ms", "no free connection within 400 ms"}
    assert most == 2
    database.execute("SELECT pg_advisory_unlock(%s)", (KEY,))
    await until(lambda: not pool._queries)
    assert await pool.rows("SELECT 1") == [(1,)]


async def test_what_nobody_waits_for_any_more_fails_in_silence(
    make_database: MakeDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_database(timeout_ms=100)
    with pytest.raises(TimeoutError):
        await pool.rows("SELECT pg_sleep(60)")
    await until(lambda: not pool._queries)
    gc.collect()
    assert caplog.records == []


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
    assert pool._idle == [], "the dead are not kept"
    assert await pool.rows("SELECT 1") == [(1,)]
    assert database.execute(f"SELECT count(*) {OURS}") == [(1,)]


async def test_at_the_end_all_connections_are_closed(postgres_url: str, database: servers.Database) -> None:
    pool = Database(postgres_url, size=2, timeout_ms=1_000)
    context = aiter(pool.context(web.Application()))
    await anext(context)
    await asyncio.gather(*[pool.rows("SELECT pg_sleep(0.05)") for _ in range(2)])
    with pytest.raises(StopAsyncIteration):
        await anext(context)
    await until(lambda: not database.execute(f"SELECT 1 {OURS}"))


async def test_at_the_end_nothing_goes_on(postgres_url: str, database: servers.Database) -> None:
    """Nor does a query that somebody still waits for: the service does not wait for a server that hangs."""
    database.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    pool = Database(postgres_url, size=1, timeout_ms=60_000)
    context = aiter(pool.context(web.Application()))
    await anext(context)
    query = asyncio.create_task(pool.rows(HOLD, (KEY,)))
    await until_a_query_waits(database)
    with pytest.raises(StopAsyncIteration):
        await anext(context)
    with pytest.raises(asyncio.CancelledError):
        await query
    database.execute("SELECT pg_advisory_unlock(%s)", (KEY,))
    await until(lambda: not database.execute(f"SELECT 1 {OURS}"))


async def test_a_database_that_knows_no_encoding_is_read_as_utf_8(
    make_database: MakeDatabase, postgres_url: str, database: servers.Database
) -> None:
    """As the locale C makes them. One device with an accent in its name would end the routing, and the service."""
    name = f"processor_live_test_{uuid.uuid4().hex}"
    database.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        pool = make_database(urlsplit(postgres_url)._replace(path=f"/{name}").geturl(), size=1)
        assert await pool.rows("SELECT 'Durrës', %s", ("Tiranë",)) == [("Durrës", "Tiranë")]
        with pytest.raises(psycopg2.DataError, match="0xff"):
            await pool.rows(r"SELECT convert_from('\xff', 'SQL_ASCII')")
    finally:
        database.execute(f"DROP DATABASE {name} WITH (FORCE)")
