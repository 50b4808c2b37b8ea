"""A platform for each test: real Redis and Postgres, a stand-in Directus, and the service in between."""

import os
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing

import pytest
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

from processor_live_demo.access import Access, User
from processor_live_demo.directus import make_directus
from processor_live_demo.embedded import cluster
from tests.integration.platform import Platform, Trackers
from tests.integration.process import Start
from tests.own_postgres import OwnPostgres
from tests.own_redis import OwnRedis
from tests.running import Diary, keeping_a_diary
from tests.servers import Database

ANA = "ana@rally.al"
BEN = "ben@rally.al"


@pytest.fixture
def event(database: Database) -> str:
    """Id of an event that Ana may follow."""
    return database.add_event()


@pytest.fixture
def topic(event: str) -> str:
    """The event's topic."""
    return f"event:{event}"


@pytest.fixture
def access(event: str) -> Access:
    """What Directus knows: Ana may follow the event, Ben nothing."""
    return Access([User(email=ANA, password="pw", events={event}), User(email=BEN, password="pw", events=set())])


@pytest.fixture
def cookie(access: Access) -> str:
    """Ana's `Cookie` header."""
    return access.sign_in(ANA)


@pytest.fixture
async def platform(
    redis_url: str,
    redis: Redis,
    stream: str,
    database: Database,
    access: Access,
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]],
) -> AsyncIterator[Platform]:
    """A deployment without an instance yet; what a test wants in the database is there before it starts one."""
    directus = await aiohttp_server(make_directus(access))
    environ = {
        "REDIS_URL": redis_url,
        "REDIS_TELEMETRY_STREAM": stream,
        "LIVE_BROADCAST_GROUP_PREFIX": f"{stream}:live",
        "LIVE_BROADCAST_BATCH_BLOCK_MS": "100",
        "POSTGRES_URL": database.url,
        "DIRECTUS_BASE_URL": str(directus.make_url("")).rstrip("/"),
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": "0",
    }
    async with ClientSession(connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar()) as session:
        platform = Platform(environ, database, Trackers(redis, stream), session)
        yield platform
        await platform.close()


@pytest.fixture
async def start(platform: Platform) -> AsyncIterator[Start]:
    """Starts a Python with the platform's environment; its log comes on stderr."""
    processes: list[Process] = []

    async def run(*args: str, **settings: str) -> Process:
        environ = {**os.environ, **platform.environ, "LIVE_WS_HOST": "127.0.0.1", "LIVE_WS_PORT": "0", **settings}
        environ = {key: value for key, value in environ.items() if value != "unset"}
        processes.append(await create_subprocess_exec(sys.executable, *args, stderr=PIPE, env=environ))
        return processes[-1]

    yield run
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    """A Postgres of a module's tests alone, which each of them leaves as it was."""
    with cluster(tmp_path_factory.mktemp("postgres")) as files, closing(OwnPostgres(files)) as server:
        yield server


@pytest.fixture
def own_servers(own_redis: OwnRedis, own_postgres: OwnPostgres) -> Iterator[dict[str, str]]:
    """The settings of a service on a Redis and a Postgres that may be treated badly."""
    with Database.created_on(own_postgres.url) as url:
        yield {"REDIS_URL": own_redis.url, "POSTGRES_URL": url}


@pytest.fixture
async def diary() -> AsyncIterator[Diary]:
    """What the service logs, when it runs in this process."""
    with keeping_a_diary() as diary:
        yield diary
