"""Whatever becomes of Redis: viewers stay, who comes is answered in time, nothing runs hot, and it heals by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from redis.asyncio import Redis

from tests.core.wire import metric
from tests.integration.platform import Platform, moment, now_ms
from tests.link import Link, link_to
from tests.own_redis import OwnRedis
from tests.redis.rally import FAILING, GOOD
from tests.running import EVENTUALLY_SECONDS, Diary, keeping_a_diary
from tests.servers import Database

PATIENCE_SECONDS = 5
"""Of the browser, for the answer to a subscribe (docs/contract.md §6.3)."""
LASTS_SECONDS = 1.0
ATTEMPTS = 6
"""With pauses of at least 0.05, 0.1, 0.2 and 0.4 seconds between them, there are no more in that time."""


@pytest.fixture
def redis_url(own_redis: OwnRedis) -> str:
    """Here the whole platform has a Redis that may be treated badly."""
    return own_redis.url


@pytest.fixture
async def link(own_redis: OwnRedis, platform: Platform) -> AsyncIterator[Link]:
    """How the service, and nobody else, reaches Redis: who counts connections counts attempts."""
    async with link_to(own_redis.port) as link:
        platform.environ["REDIS_URL"] = f"redis://127.0.0.1:{link.port}/0"
        yield link


@pytest.fixture
def diary() -> Iterator[Diary]:
    with keeping_a_diary() as diary:
        yield diary


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the service: what the 30 seconds of a frozen Redis take is a long test's question."""
    monkeypatch.setattr("processor_live_redis.connection.GRACE_SECONDS", 0.3)
    monkeypatch.setattr("processor_live.opening.PATIENCE_SECONDS", 0.3)


Fault = Callable[[OwnRedis, Redis], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def dead(server: OwnRedis, redis: Redis) -> AsyncIterator[None]:
    server.close()
    yield
    server.start()
    await redis.connection_pool.disconnect()


@asynccontextmanager
async def frozen(server: OwnRedis, _: Redis) -> AsyncIterator[None]:
    with server.frozen():
        yield


@asynccontextmanager
async def a_replica(_: OwnRedis, redis: Redis) -> AsyncIterator[None]:
    """After a failover that this service was not told of."""
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
    yield
    await redis.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]


@asynccontextmanager
async def locked(_: OwnRedis, redis: Redis) -> AsyncIterator[None]:
    """Somebody has changed the password."""
    await redis.config_set("requirepass", "another")
    await redis.client_kill_filter(_type="normal", skipme=True)
    yield
    await redis.config_set("requirepass", "")


@asynccontextmanager
async def without_rights(_: OwnRedis, redis: Redis) -> AsyncIterator[None]:
    await redis.acl_setuser("default", enabled=True, commands=["-xreadgroup"])
    yield
    await redis.acl_setuser("default", enabled=True, commands=["+xreadgroup"])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (dead, "ConnectionError"),
        (frozen, "TimeoutError: no answer to"),
        (a_replica, "ReadOnlyError"),
        (locked, "AuthenticationError"),
        (without_rights, "NoPermissionError"),
    ],
)
async def test_while_redis_is_of_no_use_viewers_stay_and_are_served_from_the_database(
    fault: Fault, said: str, platform: Platform, link: Link, own_redis: OwnRedis, redis: Redis, diary: Diary,
    database: Database, event: str, topic: str, cookie: str,
) -> None:  # fmt: skip
    database.register(event, "1", "2")
    ts = now_ms()
    database.add_position("2", moment(ts))
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    await platform.trackers.report("1", ts)
    await viewer.until("1", ts)
    await diary.line(GOOD)

    async with fault(own_redis, redis):
        await diary.line(FAILING)
        attempts, cpu = link.connections, time.process_time()
        await asyncio.sleep(LASTS_SECONDS)
        assert link.connections - attempts <= ATTEMPTS
        assert time.process_time() - cpu < LASTS_SECONDS / 2
        assert said in (await live.until("unready"))["checks"]["fanout"]
        assert metric("live_check", check="fanout") == 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            newcomer = await live.viewer(cookie)
            assert {imei: entry["ts"] for imei, entry in (await newcomer.snapshot(topic)).items()} == {"1": ts, "2": ts}
            assert await viewer.snapshot(topic) == await newcomer.snapshot(topic)

    await diary.line(GOOD)
    await live.until("ready")
    assert metric("live_check", check="fanout") == 1
    await platform.trackers.report("1", ts + 1)
    for each in (viewer, newcomer):
        await each.until("1", ts + 1)
    assert diary.count(FAILING) == 1


@pytest.mark.parametrize("fault", [dead, locked])
async def test_without_redis_at_the_start_viewers_are_served_from_the_database_until_it_comes(
    fault: Fault, platform: Platform, link: Link, own_redis: OwnRedis, redis: Redis, diary: Diary,
    database: Database, event: str, topic: str, cookie: str,
) -> None:  # fmt: skip
    database.register(event, "1")
    ts = now_ms()
    database.add_position("1", moment(ts))
    async with fault(own_redis, redis):
        live = await platform.start_unready()
        await diary.line(FAILING)
        await diary.line("check.good check=routing")
        await diary.line("live.cold")
        async with asyncio.timeout(PATIENCE_SECONDS):
            viewer = await live.viewer(cookie)
            assert (await viewer.snapshot(topic))["1"]["ts"] == ts
        assert (await live.readiness())[0] == 503
    await live.until("ready")
    await platform.trackers.report("1", ts + 1)
    await viewer.until("1", ts + 1)
    assert link.connections > 1


async def flushed(redis: Redis, _: str) -> None:
    await redis.flushall()


async def deleted(redis: Redis, stream: str) -> None:
    await redis.delete(stream)


async def without_group(redis: Redis, stream: str) -> None:
    for group in await redis.xinfo_groups(stream):
        await redis.xgroup_destroy(stream, group["name"])


async def cut(redis: Redis, _: str) -> None:
    await redis.client_kill_filter(_type="normal", skipme=True)


@pytest.mark.parametrize("mishap", [flushed, deleted, without_group, cut])
async def test_a_mishap_costs_nobody_a_position(
    mishap: Callable[[Redis, str], Awaitable[None]], platform: Platform, redis: Redis, stream: str, diary: Diary,
    database: Database, event: str, topic: str, cookie: str,
) -> None:  # fmt: skip
    database.register(event, "1")
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    ts = now_ms()
    await platform.trackers.report("1", ts)
    await viewer.until("1", ts)
    await asyncio.sleep(0.01)  # a new stream gives its ids anew: of the same millisecond they would be the same
    await mishap(redis, stream)
    for step in range(1, 20):
        await platform.trackers.report("1", ts + step)
    await viewer.until("1", ts + 19)
    assert [position["ts"] - ts for position in viewer.positions] == list(range(20))
    newcomer = await live.viewer(cookie)
    assert (await newcomer.snapshot(topic))["1"]["ts"] == ts + 19
    await live.until("ready")
    assert diary.count(FAILING) <= 1


async def test_a_full_redis_still_says_what_it_has(
    platform: Platform, redis: Redis, stream: str, diary: Diary, database: Database, event: str, topic: str,
    cookie: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("processor_live_redis.group.LIVENESS_REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("processor_live_redis.group.LIVENESS_TTL_SECONDS", 1)
    database.register(event, "1")
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    await redis.config_set("maxmemory", "1")
    assert "OutOfMemoryError" in (await live.until("degraded"))["checks"]["liveness"]
    assert metric("live_check", check="liveness") == 0
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while await redis.keys("*:alive"):
            pass
    ts = now_ms()
    async with redis.pipeline(transaction=False) as pipeline:  # nobody else comes in between
        _ = pipeline.config_set("maxmemory", "0")
        _ = pipeline.xadd(stream, {"payload": platform.trackers.record("1", ts)})
        _ = pipeline.config_set("maxmemory", "1")
        await pipeline.execute()
    await viewer.until("1", ts)
    async with asyncio.timeout(PATIENCE_SECONDS):
        newcomer = await live.viewer(cookie)
        assert (await newcomer.snapshot(topic))["1"]["ts"] == ts
    await redis.config_set("maxmemory", "0")
    await live.until("ready")
    assert diary.count(FAILING) == 0
    assert diary.count("check.failing check=liveness") == 1
