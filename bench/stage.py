"""What runs during a measurement: real servers, the stand-in Directus, and the service, on a core of its own."""

import asyncio
import os
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from aiohttp import ClientSession

from bench.crowd import FIRST_IMEI
from bench.process import Process
from bench.scenario import Scenario
from bench.service import Health, service, settings_of
from processor_live_demo.embedded import postgres, valkey
from processor_live_demo.roster import Device, Entry, Event, Roster
from processor_live_demo.seed import create_schema, store_roster


@dataclass
class Stage:
    """The service under test, and how to reach what is around it."""

    port: int
    process: Process
    redis_url: str
    cookie: str
    topics: list[str]
    health: Health | None = None
    """None for a peer: only our own service is asked how it is."""

    def shares_its_core(self) -> bool:
        """Return whether the load runs on the core of what is measured."""
        return bool(os.sched_getaffinity(self.process.pid) & os.sched_getaffinity(0))


def cores() -> tuple[set[int], set[int]]:
    """Return the core of what is measured and those of all else; the same when there is but one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@contextmanager
def bound(cores: set[int]) -> Iterator[None]:
    """Start what is started meanwhile on these cores, with all the threads it will have; then be as free as before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def set_up(scenario: Scenario, directory: Path) -> AsyncIterator[Stage]:
    """Run everything but the crowd and the publisher. Raises `BenchError` or `ServerError`."""
    own, others = cores()
    roster = roster_of(scenario)
    async with AsyncExitStack() as stack:
        stack.enter_context(bound(others))
        redis_url = stack.enter_context(valkey(directory))
        postgres_url = stack.enter_context(postgres(directory))
        with closing(psycopg2.connect(postgres_url)) as connection:
            create_schema(connection)
            store_roster(connection, roster)
        directus_url, cookie = await stack.enter_async_context(directus_for(roster))
        settings = settings_of(redis_url, postgres_url, directus_url)
        with bound(own):
            live = stack.enter_context(service(settings, directory / "service.log"))
        async with ClientSession() as session:
            health = Health(session, f"http://127.0.0.1:{settings['METRICS_PORT']}")
            await health.ready(live)
            yield Stage(
                port=int(settings["LIVE_WS_PORT"]),
                process=Process(live.pid),
                redis_url=redis_url,
                cookie=cookie,
                topics=[event.topic for event in roster.events],
                health=health,
            )
            live.check()


@asynccontextmanager
async def directus_for(roster: Roster) -> AsyncIterator[tuple[str, str]]:
    """Run the stand-in Directus; yield its URL and the `Cookie` header of a user who may follow all the events."""
    directus = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.directus", *(event.id for event in roster.events), stdout=PIPE
    )
    try:
        assert directus.stdout is not None  # noqa: S101 - a pipe, by construction
        url, cookie = (await directus.stdout.readline()).decode().split()
        yield url, cookie
    finally:
        directus.kill()
        await directus.wait()


def roster_of(scenario: Scenario) -> Roster:
    """Return the events and devices of a scenario, the IMEIs counted up from `FIRST_IMEI`."""
    devices = tuple(
        Device(str(uuid.uuid4()), str(FIRST_IMEI + number), "8E")
        for number in range(scenario.topics * scenario.devices)
    )
    events = tuple(
        Event(
            id=str(uuid.uuid4()),
            name=f"event {number}",
            organization_id=str(uuid.uuid4()),
            entries=tuple(
                Entry(str(uuid.uuid4()), device)
                for device in devices[number * scenario.devices : (number + 1) * scenario.devices]
            ),
        )
        for number in range(scenario.topics)
    )
    first = devices[0]
    return Roster(devices, events, shared=first, orphan=first, faulty=first, uncovered=())
