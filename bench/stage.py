"""What runs during a measurement: real servers, the stand-in Directus, and the service, on a core of its own."""

import asyncio
import os
import re
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from aiohttp import ClientError, ClientSession

from bench.crowd import FIRST_IMEI
from bench.scenario import Scenario
from processor_live_demo.child import Child
from processor_live_demo.embedded import free_port, postgres, valkey
from processor_live_demo.roster import Device, Entry, Event, Roster
from processor_live_demo.seed import create_schema, store_roster

STREAM = "bench:telemetry"
READY_SECONDS = 30.0
LAG_EVERY_SECONDS = 0.1
"""Often enough to see, and seldom enough not to be what is measured."""
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_NUMBER = r"(?: |\{[^}]*\} )([0-9.e+-]+)$"


@dataclass
class Stage:
    """The service under test, and how to reach what is around it."""

    port: int
    pid: int
    redis_url: str
    cookie: str
    topics: list[str]
    health: "Health | None" = None
    """None for a peer: only our own service is asked how it is."""

    def cpu_seconds(self) -> float:
        """Return the CPU time that the service's process has used, by the kernel's account."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def shares_its_core(self) -> bool:
        """Return whether the load runs on the core of what is measured."""
        return bool(os.sched_getaffinity(self.pid) & os.sched_getaffinity(0))

    def memory_bytes(self) -> int:
        """Return the resident memory of the service's process."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kilobytes) * 1024


@dataclass
class Health:
    """The service's port for metrics and health."""

    session: ClientSession
    url: str

    async def metric(self, name: str) -> float:
        """Return a metric, summed over its labels."""
        async with self.session.get(f"{self.url}/metrics") as response:
            text = await response.text()
        return sum(float(value) for value in re.findall(rf"^{name}{_NUMBER}", text, re.MULTILINE))

    async def loop_lag(self, lags_s: list[float]) -> None:
        """Note for ever how long the service takes to say that it lives: its loop can do it no sooner than its turn."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            async with self.session.get(f"{self.url}/healthz") as response:
                await response.read()
            lags_s.append(loop.time() - asked)
            await asyncio.sleep(LAG_EVERY_SECONDS)

    async def ready(self, service: Child) -> None:
        """Wait until the service welcomes viewers. Raises `ServerError` when it ends, `TimeoutError`."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                service.check()
                with suppress(ClientError):  # not listening yet
                    async with self.session.get(f"{self.url}/readyz") as response:
                        if response.ok:
                            return
                await asyncio.sleep(0.05)


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
    with ExitStack() as stack:
        stack.enter_context(bound(others))
        redis_url = stack.enter_context(valkey(directory))
        postgres_url = stack.enter_context(postgres(directory))
        with closing(psycopg2.connect(postgres_url)) as connection:
            create_schema(connection)
            store_roster(connection, roster)
        directus = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.directus", *(event.id for event in roster.events), stdout=PIPE
        )
        stack.callback(directus.kill)
        assert directus.stdout is not None  # noqa: S101 - a pipe, by construction
        directus_url, cookie = (await directus.stdout.readline()).decode().split()
        environ = {
            "REDIS_URL": redis_url,
            "REDIS_TELEMETRY_STREAM": STREAM,
            "POSTGRES_URL": postgres_url,
            "DIRECTUS_BASE_URL": directus_url,
            "LIVE_WS_HOST": "127.0.0.1",
            "LIVE_WS_PORT": str(free_port()),
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": str(free_port()),
            "LIVE_WS_MAX_CONNECTIONS_PER_USER": "1000000",
        }
        with bound(own):
            service = stack.enter_context(
                Child(
                    name="the service",
                    command=[sys.executable, "-m", "processor_live", "serve"],
                    log=directory / "service.log",
                    environ={**os.environ, **environ},
                )
            )
        async with ClientSession() as session:
            health = Health(session, f"http://127.0.0.1:{environ['METRICS_PORT']}")
            await health.ready(service)
            yield Stage(
                port=int(environ["LIVE_WS_PORT"]),
                pid=service.pid,
                redis_url=redis_url,
                cookie=cookie,
                topics=[event.topic for event in roster.events],
                health=health,
            )
            service.check()


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
