"""What do the tests of the stream share?"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from processor_live_demo.embedded import valkey
from processor_live_redis.group import Group
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


@dataclass
class OwnServer:
    """A server that a test may stop, start again and flush."""

    url: str
    directory: Path
    stack: ExitStack

    def stop(self) -> None:
        """Stop it; all its data is gone."""
        self.stack.close()

    def start(self) -> None:
        """Start an empty one where the last one was."""
        port = urlsplit(self.url).port
        assert port is not None
        self.stack.enter_context(valkey(self.directory, port=port))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    """A server of this test alone; the loop stands still while it starts and stops."""
    with ExitStack() as stack:
        yield OwnServer(stack.enter_context(valkey(tmp_path)), tmp_path, stack)


@pytest.fixture
async def own_client(own_server: OwnServer) -> AsyncIterator[Redis]:
    """A client of this test's own server, for the test's own use."""
    async with Redis.from_url(own_server.url, protocol=2) as client:
        yield client


@pytest.fixture
def rally(redis_url: str, stream: str, connection: Redis) -> Rally:
    """The application with this plugin alone, which does not run yet."""
    return rally_on(redis_url, stream, connection)


@pytest.fixture
async def own_rally(own_server: OwnServer, own_client: Redis) -> Rally:
    """A rally on a server that the test may treat badly."""
    return rally_on(own_server.url, "stream", own_client)


@pytest.fixture
def make_group(connection: Redis, stream: str) -> MakeGroup:
    """Return a group of an instance on this test's stream, whose name begins its own: so it goes with the stream."""

    def make(instance: str = "one", redis: Redis = connection, prefix: str = "live") -> Group:
        return Group(redis, stream, f"{stream}:{prefix}", instance)

    return make
