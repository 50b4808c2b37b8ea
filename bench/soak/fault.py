"""What goes wrong during a soak, each in its turn?"""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
from redis.asyncio import Redis

from bench.process import Process
from bench.service import STREAM
from bench.soak.platform import Platform
from processor_live_demo.directus import answer, silence

_Inflict = Callable[[Platform], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and is made good again when the `async with` block ends."""

    name: str
    inflict: _Inflict
    seconds: float
    """How long it lasts."""


class StatusError(Exception):
    """The service did not stop as it should."""


@asynccontextmanager
async def _killed(platform: Platform) -> AsyncIterator[None]:
    harried, *_ = platform.instances
    await harried.end(signal.SIGKILL)
    yield
    await harried.start()


@asynccontextmanager
async def _stopped(platform: Platform) -> AsyncIterator[None]:
    harried, *_ = platform.instances
    status = await harried.end(signal.SIGTERM)
    if status:
        raise StatusError(f"after SIGTERM the service exited with status {status}")
    yield
    await harried.start()


@asynccontextmanager
async def _redis(platform: Platform) -> AsyncIterator[Redis]:
    async with Redis.from_url(platform.redis.url, decode_responses=True) as redis:
        yield redis


@asynccontextmanager
async def _connections_cut(platform: Platform) -> AsyncIterator[None]:
    async with _redis(platform) as redis:
        await redis.client_kill_filter(_type="normal", skipme=True)
        yield


@asynccontextmanager
async def _groups_destroyed(platform: Platform) -> AsyncIterator[None]:
    async with _redis(platform) as redis:
        for name in await live_groups(platform):
            await redis.xgroup_destroy(STREAM, name)
        yield


@asynccontextmanager
async def _flushed(platform: Platform) -> AsyncIterator[None]:
    async with _redis(platform) as redis:
        await redis.flushall()
        yield


@asynccontextmanager
async def _redis_frozen(platform: Platform) -> AsyncIterator[None]:
    pid = await _redis_pid(platform)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _redis_restarted(platform: Platform) -> AsyncIterator[None]:
    async with _redis(platform) as redis:
        await redis.shutdown(save=True)
    yield
    platform.redis.start()


@asynccontextmanager
async def _redis_lost(platform: Platform) -> AsyncIterator[None]:
    os.kill(await _redis_pid(platform), signal.SIGKILL)
    platform.redis.forget()
    yield
    platform.redis.start()


@asynccontextmanager
async def _postgres_crashed(platform: Platform) -> AsyncIterator[None]:
    """Kill one of its processes: it ends all others, replays its log, and begins anew."""
    (pid,) = _asked_of_postgres(platform, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    os.kill(int(pid), signal.SIGKILL)
    yield


@asynccontextmanager
async def _postgres_frozen(platform: Platform) -> AsyncIterator[None]:
    (first,) = _asked_of_postgres(platform, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
    postmaster = int(first)
    os.kill(postmaster, signal.SIGSTOP)  # first: it starts no more
    pids = [postmaster, *Process(postmaster).children()]
    for pid in pids:
        with suppress(ProcessLookupError):  # it had nothing more to do
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _directus_stopped(platform: Platform) -> AsyncIterator[None]:
    await platform.directus.stop()
    yield
    await platform.directus.start()


@asynccontextmanager
async def _directus_failing(platform: Platform) -> AsyncIterator[None]:
    overrides = platform.directus.access.overrides
    overrides["users"] = overrides["events"] = answer(500)
    yield
    overrides.clear()


@asynccontextmanager
async def _directus_silent(platform: Platform) -> AsyncIterator[None]:
    overrides = platform.directus.access.overrides
    overrides["users"] = overrides["events"] = silence()
    yield
    overrides.clear()


FAULTS = (
    Fault("one of two instances killed (SIGKILL)", _killed, 2),
    Fault("Redis: all connections cut", _connections_cut, 0),
    Fault("Directus stopped", _directus_stopped, 10),
    Fault("Redis restarted with its data", _redis_restarted, 3),
    Fault("Postgres crashed and recovered", _postgres_crashed, 0),
    Fault("Redis: FLUSHALL", _flushed, 0),
    Fault("Directus answers 500", _directus_failing, 10),
    Fault("one of two instances stopped (SIGTERM)", _stopped, 2),
    Fault("Redis frozen", _redis_frozen, 10),
    Fault("Postgres frozen", _postgres_frozen, 10),
    Fault("Redis: the groups destroyed", _groups_destroyed, 0),
    Fault("Directus silent", _directus_silent, 10),
    Fault("Redis killed, and back empty", _redis_lost, 3),
)


async def live_groups(platform: Platform) -> list[str]:
    """Return the names of the service's consumer groups, those of the dead included."""
    async with _redis(platform) as redis:
        groups: Any = await redis.xinfo_groups(STREAM)
        return [group["name"] for group in groups if group["name"].startswith("live-broadcast-")]


async def _redis_pid(platform: Platform) -> int:
    async with _redis(platform) as redis:
        return int((await redis.info("server"))["process_id"])


def _asked_of_postgres(platform: Platform, query: str) -> tuple[Any, ...]:
    with closing(psycopg2.connect(platform.postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()[0]
