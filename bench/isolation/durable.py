"""How is the durable writer watched while it catches up?"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from aiohttp import ClientSession
from redis.asyncio import Redis

from bench.crowd import FIRST_IMEI, SOURCE, Crowd, compiled
from bench.isolation.comparison import Run
from bench.publisher import entry
from bench.scenario import Scenario
from bench.service import STREAM, Health, service, settings_of
from bench.stage import bound, cores, directus_for, roster_of
from processor_live_demo.child import Child
from processor_live_demo.embedded import postgres, valkey
from processor_live_demo.recorder import BATCH_SIZE, GROUP
from processor_live_demo.roster import Roster
from processor_live_demo.seed import create_schema, store_roster

VIEWERS, DEVICES, RATE = 1_000, 40, 100
BACKLOG = 10 * BATCH_SIZE
BACKLOG_AGE_MS = 60_000
PUBLISHING_SECONDS = 9
"""Longer than the backlog takes."""
STORING_SECONDS = 60.0
POLL_SECONDS = 0.01
PIPELINE = 1_000
IDLER = """
import os
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while True:
    pass
"""
"""Takes what CPU time is left of the other cores."""


@dataclass(frozen=True)
class Servers:
    """A Redis and a Postgres."""

    redis_url: str
    postgres_url: str


@dataclass
class Durable:
    """The durable path, on its own core, and what else is the same for all runs."""

    redis: Redis
    own: Servers
    others: Servers
    """Of the same kind and with the same devices, on the cores of all else."""
    directus_url: str
    cookie: str
    topics: list[str]
    crowd: Path
    """The program of the viewers."""
    session: ClientSession
    directory: Path

    async def fill(self) -> None:
        """Begin anew: no rows, and a backlog on the stream."""
        self.ask("TRUNCATE positions")
        await self.redis.delete(STREAM)
        oldest = time.time_ns() // 1_000_000 - BACKLOG_AGE_MS
        for first in range(0, BACKLOG, PIPELINE):
            async with self.redis.pipeline(transaction=False) as pipeline:
                for number in range(first, first + PIPELINE):
                    turn, device = divmod(number, DEVICES)
                    _ = pipeline.xadd(STREAM, entry(FIRST_IMEI + device, oldest + turn))
                await pipeline.execute()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows if it has some."""
        with closing(psycopg2.connect(self.own.postgres_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    async def until(self, reached: Callable[[int, int], bool]) -> float:
        """Wait until the writer has read and stored so many entries, and return when that was (loop time)."""
        async with asyncio.timeout(STORING_SECONDS):
            while True:
                groups: Any = await self.redis.xinfo_groups(STREAM)
                for group in groups:
                    read = group["entries-read"] or 0
                    if group["name"] == GROUP.encode() and reached(read, read - group["pending"]):
                        return asyncio.get_running_loop().time()
                await asyncio.sleep(POLL_SECONDS)


async def catch_up(durable: Durable, count: int, *, away: bool = False, kill: bool = False) -> Run:
    """Let the writer catch up with the backlog beside `count` instances. Raises `BenchError` or `ServerError`."""
    await durable.fill()
    own = durable.own
    stores = {"REDIS_URL": own.redis_url, "POSTGRES_URL": own.postgres_url, "REDIS_TELEMETRY_STREAM": STREAM}
    async with AsyncExitStack() as stack:
        instances, crowds = await _watched(durable, durable.others if away else own, count, stack)
        publishing, publishing_away = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.publisher", servers.redis_url, STREAM, str(FIRST_IMEI), str(DEVICES),
                str(RATE), str(PUBLISHING_SECONDS), stdout=PIPE,
            )
            for servers in (own, durable.others)
        ]  # fmt: skip
        for crowd in crowds:
            await crowd.begin()
        with bound(cores()[0]):
            recorder = Child(
                name="the recorder",
                command=[sys.executable, "-m", "processor_live_demo.recorder"],
                log=durable.directory / "recorder.log",
                environ={**os.environ, **stores, "RECORDER_INTERVAL_MS": "50"},
            )
            stack.enter_context(recorder)
        began = await durable.until(lambda read, _: read > 0)
        if kill:
            await durable.until(lambda _, stored: stored >= BACKLOG // 2)
            os.kill(instances[0].pid, signal.SIGKILL)
        ended = await durable.until(lambda _, stored: stored >= BACKLOG)
        counted = [await crowd.end() for crowd in crowds]
        said, _ = await publishing.communicate()
        await publishing_away.communicate()
        entries = BACKLOG + json.loads(said)["sent"]
        await durable.until(lambda _, stored: stored >= entries)
        [(rows,)] = durable.ask("SELECT count(*) FROM positions")
    return Run(
        instances=count,
        away=away,
        killed=kill,
        records_per_s=BACKLOG / (ended - began),
        deliveries_per_s=sum(one["frames"] / one["seconds"] for one in counted),
        entries=entries,
        rows=rows,
    )


async def _watched(
    durable: Durable, servers: Servers, count: int, stack: AsyncExitStack
) -> tuple[list[Child], list[Crowd]]:
    """Start so many instances, and let the viewers connect to them."""
    instances: list[Child] = []
    crowds: list[Crowd] = []
    for number in range(count):
        settings = settings_of(servers.redis_url, servers.postgres_url, durable.directus_url)
        instance = stack.enter_context(service(settings, durable.directory / "service.log"))
        await Health(durable.session, f"http://127.0.0.1:{settings['METRICS_PORT']}").ready(instance)
        share = VIEWERS * (number + 1) // count - VIEWERS * number // count
        crowd = await Crowd.gathered(
            durable.crowd, int(settings["LIVE_WS_PORT"]), durable.cookie, scenario(share), durable.topics
        )
        stack.push_async_callback(crowd.leave)
        instances.append(instance)
        crowds.append(crowd)
    return instances, crowds


def scenario(viewers: int) -> Scenario:
    """Return what so many viewers watch."""
    return Scenario(name="isolation", about="beside the durable writer", clients=viewers, rate=RATE, devices=DEVICES)


@asynccontextmanager
async def set_up() -> AsyncIterator[Durable]:
    """Run the durable path's servers on a core of their own, and all else on another. Raises as `catch_up`."""
    own, others = cores()
    roster = roster_of(scenario(VIEWERS))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="processor-live-bench-")))
        with bound(own):
            durable = _servers(directory / "own", roster, stack)
        stack.enter_context(bound(others))
        away = _servers(directory / "others", roster, stack)
        for core in others:
            with bound({core}):
                command = [sys.executable, "-c", IDLER]
                stack.enter_context(Child(name="the idler", command=command, log=directory / "idler.log"))
        async with (
            directus_for(roster) as (directus_url, cookie),
            ClientSession() as session,
            Redis.from_url(durable.redis_url, socket_timeout=None) as redis,
        ):
            yield Durable(
                redis=redis,
                own=durable,
                others=away,
                directus_url=directus_url,
                cookie=cookie,
                topics=[event.topic for event in roster.events],
                crowd=compiled(SOURCE, directory),
                session=session,
                directory=directory,
            )


def _servers(directory: Path, roster: Roster, stack: ExitStack) -> Servers:
    """Run a Redis, and a Postgres that knows the devices."""
    directory.mkdir()
    servers = Servers(stack.enter_context(valkey(directory)), stack.enter_context(postgres(directory)))
    with closing(psycopg2.connect(servers.postgres_url)) as connection:
        create_schema(connection)
        store_roster(connection, roster)
    return servers
