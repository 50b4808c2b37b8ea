"""What do the tests of the stream share?"""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from processor_live import Check
from processor_live_redis.group import Group
from tests.own_redis import OwnRedis
from tests.redis.groups import MakeGroup
from tests.redis.rally import Rally, rally_on
from tests.running import Diary, keeping_a_diary


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the plugin has it: bytes, and the shapes of RESP 2."""
    async with Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
async def diary() -> AsyncIterator[Diary]:
    """What the service logs."""
    with keeping_a_diary() as diary:
        yield diary


@pytest.fixture
def rally(redis_url: str, stream: str, connection: Redis) -> Rally:
    """The application with this plugin alone, which does not run yet."""
    return rally_on(redis_url, stream, connection)


@pytest.fixture
async def own_rally(own_redis: OwnRedis, own_client: Redis) -> Rally:
    """A rally on a server that the test may treat badly."""
    return rally_on(own_redis.url, "stream", own_client)


@pytest.fixture
def liveness() -> Check:
    """The check of the groups that this test makes."""
    return Check("liveness", critical=False, problem=None)


@pytest.fixture
def own_group(own_client: Redis, liveness: Check) -> Group:
    """A group on the server that the test may treat badly."""
    return Group(own_client, "stream", "live", "one", liveness)


@pytest.fixture
def make_group(connection: Redis, stream: str, liveness: Check) -> MakeGroup:
    """Return a group of an instance on this test's stream, whose name begins its own: so it goes with the stream."""

    def make(instance: str = "one", redis: Redis = connection, prefix: str = "live") -> Group:
        return Group(redis, stream, f"{stream}:{prefix}", instance, liveness)

    return make
