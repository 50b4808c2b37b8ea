"""What do the tests of the durable store share?"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from processor_live import Row
from processor_live.slots import SNAPSHOT
from processor_live_postgres import database as database_module
from tests.running import Diary, app_with, keeping_a_diary, running, until
from tests.servers import Database

MOMENT = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
TS = 1_767_268_800_000
A_SECOND = timedelta(seconds=1)
MakeDatabase = Callable[..., database_module.Database]
OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'processor-live'"
"""The service's connections, as the server sees them."""
QUERIES_WAITING = """
SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE datname = current_database() AND NOT granted
"""


@pytest.fixture
async def make_database(postgres_url: str) -> AsyncIterator[MakeDatabase]:
    """Return the plugin's `Database` on the tests' Postgres, closed after the test."""
    contexts = []

    def make(url: str = postgres_url, *, size: int = 2, timeout_ms: int = 60_000) -> database_module.Database:
        database = database_module.Database(url, size=size, timeout_ms=timeout_ms)
        contexts.append(database.context(web.Application()))
        return database

    yield make
    for context in contexts:
        assert [each async for each in context] == [None]


@pytest.fixture
async def diary() -> AsyncIterator[Diary]:
    """What the service logs."""
    with keeping_a_diary() as diary:
        yield diary


@pytest.fixture
def event(database: Database) -> str:
    """Id of an event without devices."""
    return database.add_event()


@pytest.fixture
async def app(database: Database) -> AsyncIterator[web.Application]:
    """The application with the snapshot plugin alone."""
    async with running(app_with("snapshot", POSTGRES_URL=database.url)) as app:
        yield app


async def rows(app: web.Application, event: str) -> dict[str, Row]:
    """Ask for a snapshot and return its rows by device."""
    found = list(await app[SNAPSHOT].answer(f"event:{event}"))
    assert len({row.device_id for row in found}) == len(found)
    return {row.device_id: row for row in found}


async def until_a_query_waits(database: Database) -> None:
    """Wait until the server has begun a query that must wait for a lock."""
    await until(lambda: database.execute(QUERIES_WAITING))
