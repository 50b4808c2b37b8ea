"""What runs during a soak: real servers, a stand-in Directus, the durable writer, two instances of the service."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from aiohttp import ClientSession, DummyCookieJar, web

from bench.process import Process
from bench.scenario import Scenario
from bench.service import STREAM, Health, service, settings_of
from bench.stage import roster_of
from processor_live_demo.access import Access, User
from processor_live_demo.child import Child
from processor_live_demo.directus import make_directus
from processor_live_demo.embedded import free_port, postgres, valkey
from processor_live_demo.roster import Roster
from processor_live_demo.seed import create_schema, store_roster

VIEWER = "viewer@rally.example"
SETTINGS = {"LIVE_WS_SLOW_TIMEOUT_MS": "20000", "LIVE_DEVICE_EVENT_REFRESH_MS": "5000"}
"""Shorter than by default, so that both happen often in an hour."""
POLL_SECONDS = 0.05
RECORDER_PAUSE_SECONDS = 1.0
"""Before the durable writer, which ends when Redis or Postgres fails, is started again, as a container would be."""


class Instance:
    """An instance of the service, which may be ended and started again where it was."""

    def __init__(self, name: str, settings: dict[str, str], directory: Path, session: ClientSession) -> None:
        self.name = name
        self.port = int(settings["LIVE_WS_PORT"])
        self.url = f"http://127.0.0.1:{self.port}/ws-live"
        self.health = Health(session, f"http://127.0.0.1:{settings['METRICS_PORT']}")
        self.open = asyncio.Event()
        """Set while it welcomes viewers: a proxy sends nobody to an instance that is not ready yet."""
        self.life = 0
        """How often it has been started."""
        self._settings = settings
        self._log = directory / f"{name}.log"
        self._stack = ExitStack()
        self._child: Child

    @property
    def process(self) -> Process:
        """The process of its present life."""
        return Process(self._child.pid)

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises `ServerError` or `TimeoutError`."""
        self._child = self._stack.enter_context(service(self._settings, self._log))
        await self.health.ready(self._child)
        self.life += 1
        self.open.set()

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal, wait until it has ended, and return its status."""
        self.open.clear()
        os.kill(self._child.pid, number)
        while (status := self._child.status) is None:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(POLL_SECONDS)
        return status

    def check(self) -> None:
        """Raise `ServerError` when it has died though nobody ended it."""
        if self.open.is_set():
            self._child.check()

    def close(self) -> None:
        """Leave no process behind."""
        self._stack.close()


class RedisServer:
    """A Redis that may be stopped and started again where it was."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self.url = self._stack.enter_context(valkey(directory))

    def start(self) -> None:
        """Start it with the data that it saved, if any; the loop stands still for a moment."""
        self._stack.close()
        self._stack.enter_context(valkey(self._directory, port=urlsplit(self.url).port or 0))

    def forget(self) -> None:
        """Remove what it saved."""
        (self._directory / "dump.rdb").unlink(missing_ok=True)

    def close(self) -> None:
        """Leave no process behind."""
        self._stack.close()


class Directus:
    """A Directus that may be stopped and started again where it was; sessions outlive it: its database has them."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.cookie = access.sign_in(VIEWER)
        self.port = free_port()
        self._runner: web.AppRunner

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Answer."""
        self._runner = web.AppRunner(make_directus(self.access), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Cut all connections and listen no more."""
        await self._runner.cleanup()


@dataclass
class Platform:
    """All of it."""

    roster: Roster
    redis: RedisServer
    postgres_url: str
    directus: Directus
    instances: tuple[Instance, ...]


@asynccontextmanager
async def set_up(scenario: Scenario, directory: Path) -> AsyncIterator[Platform]:
    """Run everything but the viewers and the trackers. Raises `ServerError` or `TimeoutError`."""
    roster = roster_of(scenario)
    async with AsyncExitStack() as stack:
        redis = RedisServer(directory)
        stack.callback(redis.close)
        postgres_url = stack.enter_context(postgres(directory))
        with closing(psycopg2.connect(postgres_url)) as connection:
            create_schema(connection)
            store_roster(connection, roster)
        directus = Directus(Access([User(email=VIEWER, password="soak", events={event.id for event in roster.events})]))
        await directus.start()
        stack.push_async_callback(directus.stop)
        session = await stack.enter_async_context(ClientSession(cookie_jar=DummyCookieJar()))
        instances = []
        for name in ("harried", "steady"):
            settings = settings_of(redis.url, postgres_url, directus.url) | SETTINGS
            instances.append(Instance(name, settings, directory, session))
            stack.callback(instances[-1].close)
            await instances[-1].start()
        recording = asyncio.create_task(_record(redis.url, postgres_url, directory / "recorder.log"))
        stack.push_async_callback(asyncio.wait, [recording])
        stack.callback(recording.cancel)
        yield Platform(roster, redis, postgres_url, directus, tuple(instances))


async def _record(redis_url: str, postgres_url: str, log: Path) -> None:
    """Keep the durable writer running."""
    stores = {"REDIS_URL": redis_url, "POSTGRES_URL": postgres_url, "REDIS_TELEMETRY_STREAM": STREAM}
    while True:
        recorder = Child(
            name="the recorder",
            command=[sys.executable, "-m", "processor_live_demo.recorder"],
            log=log,
            environ={**os.environ, **stores},
        )
        with recorder:
            while recorder.status is None:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(RECORDER_PAUSE_SECONDS)
