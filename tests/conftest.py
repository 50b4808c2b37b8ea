"""What do all tests share?

Tests import each other's tools as `tests.NAME`. Nothing of the checkout is on `sys.path` for that, or the tests would
measure the checkout instead of the installed wheel: in importlib mode pytest itself makes `tests` a namespace package
when it loads this file. mypy finds the same names from the root of the checkout (`mypy_path`).
"""

import os
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from tests.own_redis import OwnRedis
from tests.servers import Database, Servers, UnavailableError

SERVERS = pytest.StashKey[Servers]()
# Which fixture means that a test needs which server.
FIXTURES = {"redis_url": "Redis", "postgres_server_url": "Postgres"}


def pytest_configure(config: pytest.Config) -> None:
    """Read which servers the environment asks for."""
    try:
        config.stash[SERVERS] = Servers(os.environ)
    except UnavailableError as error:
        raise pytest.UsageError(str(error)) from None
    config.add_cleanup(config.stash[SERVERS].close)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Start the servers that the collected tests need, and say which ones these are."""
    if config.option.collectonly:
        return []
    needed = {fixture for item in items for fixture in getattr(item, "fixturenames", ())}
    lines = []
    for fixture, name in FIXTURES.items():
        if fixture in needed:
            try:
                server = config.stash[SERVERS].start(name)
            except UnavailableError as error:
                raise pytest.UsageError(str(error)) from None
            lines += [*server.passed_over, f"{name} of the tests: {server.version} ({server.kind})"]
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test has failed: everything that a test can ask for is there."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself as a whole."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> str:
    """URL of a real Redis (or Valkey) that may not be ours alone."""
    return pytestconfig.stash[SERVERS].start("Redis").url


@pytest.fixture(scope="session")
def postgres_server_url(pytestconfig: pytest.Config) -> str:
    """URL of a real Postgres that may not be ours alone, as a user who may create databases."""
    return pytestconfig.stash[SERVERS].start("Postgres").url


@pytest.fixture(scope="session")
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """URL of a database of this test session with the tables of the contract."""
    with Database.created_on(postgres_server_url) as url:
        yield url


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """The database of this test session, its tables empty."""
    with closing(Database(postgres_url)) as connected:
        connected.clear()
        yield connected


@pytest.fixture
def stream(redis_url: str) -> Iterator[str]:
    """Name of a stream of this test alone.

    It goes after the test, with its groups, their liveness keys and all keys that carry its name.
    """
    name = f"processor_live_test:{uuid.uuid4().hex}"
    yield name
    with closing(Redis.from_url(redis_url, decode_responses=True)) as client:
        groups: Any = client.xinfo_groups(name) if client.exists(name) else []
        alive = [f"{group['name']}:alive" for group in groups]
        client.delete(name, *alive, *client.scan_iter(match=f"*{name}*", count=1000))


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis of this test alone, to be treated badly."""
    with closing(OwnRedis(tmp_path)) as server:
        yield server


@pytest.fixture
async def own_client(own_redis: OwnRedis) -> AsyncIterator[AsyncRedis]:
    """A client of this test's own Redis, for the test's own use: bytes, and the shapes of RESP 2."""
    async with AsyncRedis.from_url(own_redis.url, protocol=2, socket_timeout=None) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[AsyncRedis]:
    """A client of the real Redis that reads and writes text."""
    # with a timeout of redis-py's own a task that sends may swallow its cancellation: processor_live_redis.connection
    async with AsyncRedis.from_url(redis_url, decode_responses=True, socket_timeout=None) as client:
        yield client


@pytest.fixture
def credulity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every check that is well again believed at once, however often it has failed before."""
    monkeypatch.setattr("processor_live.health.DOUBT_SECONDS", (0.0, 0.0))
