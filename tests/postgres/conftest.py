"""What do the tests of the durable store share?"""

from collections.abc import AsyncIterator

import pytest

from tests.running import Diary, keeping_a_diary, until
from tests.servers import Database

QUERIES_WAITING = """
SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE datname = current_database() AND NOT granted
"""


@pytest.fixture
async def diary() -> AsyncIterator[Diary]:
    """What the service logs."""
    with keeping_a_diary() as diary:
        yield diary


async def until_a_query_waits(database: Database) -> None:
    """Wait until the server has begun a query that must wait for a lock."""
    await until(lambda: database.execute(QUERIES_WAITING))
