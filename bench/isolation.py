"""Does the live channel slow the durable writer down, or cost it a record? python -m bench isolation

The durable writer has to catch up with a backlog as fast as it can while trackers go on reporting: without an instance
of the service, with one, and with three, in turn; once more, the one is killed half-way. Redis, Postgres and the writer
have a core of their own, the instances and all else the others, which are kept busy when they have nothing to do: two
cores may be two threads of one, and a turbo slower when all are in use. So what is seen is interference through Redis,
and not that a small machine has little CPU time.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg2
from aiohttp import ClientSession
from redis.asyncio import Redis

from bench.crowd import FIRST_IMEI, SOURCE, BenchError, Crowd, compiled
from bench.publisher import entry
from bench.report import tell
from bench.scenario import Scenario
from bench.service import STREAM, Health, service, settings_of
from bench.stage import bound, cores, directus_for, roster_of
from processor_live_demo.child import Child, ServerError
from processor_live_demo.embedded import postgres, valkey
from processor_live_demo.recorder import BATCH_SIZE, GROUP
from processor_live_demo.seed import create_schema, store_roster

VIEWERS, DEVICES, RATE = 1_000, 40, 100
BACKLOG = 10 * BATCH_SIZE
BACKLOG_AGE_MS = 60_000
INSTANCES = (0, 1, 3)
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
class Run:
    """The durable writer catching up once."""

    instances: int
    killed: bool
    """Whether the instance was killed when half was stored."""
    records_per_s: float
    """Stored, of the backlog."""
    deliveries_per_s: float
    """To all viewers, meanwhile."""
    entries: int
    """Ever written to the stream."""
    rows: int
    """In Postgres at the end."""


@dataclass
class Durable:
    """The durable path, on its own core, and what else is the same for all runs."""

    redis: Redis
    redis_url: str
    postgres_url: str
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
        with closing(psycopg2.connect(self.postgres_url)) as connection, connection, connection.cursor() as cursor:
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


async def catch_up(durable: Durable, count: int, *, kill: bool = False) -> Run:
    """Let the writer catch up with the backlog beside `count` instances. Raises `BenchError` or `ServerError`."""
    await durable.fill()
    stores = {"REDIS_URL": durable.redis_url, "POSTGRES_URL": durable.postgres_url, "REDIS_TELEMETRY_STREAM": STREAM}
    async with AsyncExitStack() as stack:
        instances, crowds = await _watched(durable, count, stack)
        publishing = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.publisher", durable.redis_url, STREAM, str(FIRST_IMEI), str(DEVICES),
            str(RATE), str(PUBLISHING_SECONDS), stdout=PIPE,
        )  # fmt: skip
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
        entries = BACKLOG + json.loads(said)["sent"]
        await durable.until(lambda _, stored: stored >= entries)
        [(rows,)] = durable.ask("SELECT count(*) FROM positions")
    return Run(
        instances=count,
        killed=kill,
        records_per_s=BACKLOG / (ended - began),
        deliveries_per_s=sum(one["frames"] / one["seconds"] for one in counted),
        entries=entries,
        rows=rows,
    )


async def _watched(durable: Durable, count: int, stack: AsyncExitStack) -> tuple[list[Child], list[Crowd]]:
    """Start so many instances, and let the viewers connect to them."""
    instances: list[Child] = []
    crowds: list[Crowd] = []
    for number in range(count):
        settings = settings_of(durable.redis_url, durable.postgres_url, durable.directus_url)
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
    """Run Redis and Postgres on a core of their own, and Directus on another. Raises `BenchError` or `ServerError`."""
    own, others = cores()
    roster = roster_of(scenario(VIEWERS))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="processor-live-bench-")))
        with bound(own):
            redis_url = stack.enter_context(valkey(directory))
            postgres_url = stack.enter_context(postgres(directory))
        stack.enter_context(bound(others))
        for core in others:
            with bound({core}):
                command = [sys.executable, "-c", IDLER]
                stack.enter_context(Child(name="the idler", command=command, log=directory / "idler.log"))
        with closing(psycopg2.connect(postgres_url)) as connection:
            create_schema(connection)
            store_roster(connection, roster)
        async with (
            directus_for(roster) as (directus_url, cookie),
            ClientSession() as session,
            Redis.from_url(redis_url, socket_timeout=None) as redis,
        ):
            yield Durable(
                redis=redis,
                redis_url=redis_url,
                postgres_url=postgres_url,
                directus_url=directus_url,
                cookie=cookie,
                topics=[event.topic for event in roster.events],
                crowd=compiled(SOURCE, directory),
                session=session,
                directory=directory,
            )


async def run(rounds: int) -> list[Run]:
    """Take turns, then kill one."""
    runs = []
    async with set_up() as durable:
        for _ in range(rounds):
            for count in INSTANCES:
                runs.append(await catch_up(durable, count))
                tell(told(runs[-1]))
        runs.append(await catch_up(durable, 1, kill=True))
        tell(told(runs[-1]))
    return runs


def told(one: Run) -> str:
    """Return a run in one line."""
    beside = f"{one.instances} instances" + (", killed half-way" if one.killed else "")
    return f"{beside}: {one.records_per_s:,.0f} records/s, {one.deliveries_per_s:,.0f} deliveries/s"


def rates(runs: Sequence[Run], instances: int) -> list[float]:
    """Return what the writer stored a second beside so many instances, in order."""
    return sorted(one.records_per_s for one in runs if one.instances == instances and not one.killed)


def table(runs: Sequence[Run]) -> str:
    """Return what came out, as a Markdown table."""
    rows = [
        "| instances | records/s stored: median | lowest | highest | deliveries/s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for count in INSTANCES:
        stored = rates(runs, count)
        delivered = median(one.deliveries_per_s for one in runs if one.instances == count and not one.killed)
        rows.append(f"| {count} | {median(stored):,.0f} | {stored[0]:,.0f} | {stored[-1]:,.0f} | {delivered:,.0f} |")
    return "\n".join(rows)


def failures(runs: Sequence[Run]) -> list[str]:
    """Return what must not be: a difference above the noise, which is the spread without instances; a lost record."""
    alone, *beside = (rates(runs, count) for count in INSTANCES)
    noise = alone[-1] - alone[0]
    found = [
        f"beside {count} instances the writer is {1 - median(stored) / median(alone):.1%} slower"
        for count, stored in zip(INSTANCES[1:], beside, strict=True)
        if median(alone) - median(stored) > noise
    ]
    found += [
        f"{one.entries - one.rows} of {one.entries} records are not stored" for one in runs if one.rows != one.entries
    ]
    return found


def main(argv: Sequence[str]) -> None:
    """Run the command line. Raises `SystemExit`: 1 when the writer was slowed down or a record was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench isolation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of three runs each (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="where isolation.json goes (default: %(default)s)"
    )
    chosen = parser.parse_args(argv)
    try:
        runs = asyncio.run(run(chosen.rounds))
    except (BenchError, ServerError, TimeoutError) as error:
        raise SystemExit(f"bench: {error}") from None
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "isolation.json").write_text(json.dumps([asdict(one) for one in runs]) + "\n", encoding="utf-8")
    print(table(runs))
    found = failures(runs)
    print("\n".join(found or ["no difference above the noise, and every record is stored"]))
    sys.exit(bool(found))
