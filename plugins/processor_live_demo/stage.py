"""What runs in a demo, in which order it starts, and what the person at the terminal is told."""

import asyncio
import fcntl
import os
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

import aiohttp
from aiohttp import web

from processor_live_demo.access import Access, User
from processor_live_demo.child import Child, ServerError
from processor_live_demo.directus import make_directus
from processor_live_demo.embedded import free_port, postgres, valkey
from processor_live_demo.ingestion import transmit
from processor_live_demo.overlay import overlay
from processor_live_demo.rally import GAP_S, Rally
from processor_live_demo.roster import Roster, make_roster
from processor_live_demo.seed import seed
from processor_live_demo.spectator import Spectator

SEED = 20_260_101
STREAM = "telemetry:teltonika"
HISTORY_S = 300.0
WS_PORT = 8081
METRICS_PORT = 9090
READY_TIMEOUT_S = 30.0
STATUS_INTERVAL_S = 1.0
PASSWORD = "demo"
STEWARD = "steward@rally.example"
VISITOR = "visitor@rally.example"
PLUGINS = "auth,authorization,routing,snapshot,fanout,map,processor_live_demo.proxy:setup"
SIGN_IN = "/login"
MAP = "/map"


async def perform() -> None:
    """Run the demo until it is cancelled; leaves no process and no file behind, however it ends.

    Raises ServerError, OSError, redis.RedisError, psycopg2.Error or aiohttp.ClientError, alone or in a group.
    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="processor-live-demo-")))
        stores = {
            "REDIS_URL": stack.enter_context(valkey(directory)),
            "REDIS_TELEMETRY_STREAM": STREAM,
            "POSTGRES_URL": stack.enter_context(postgres(directory)),
        }
        # Starting is not asynchronous, so that a signal never meets it half-way; this is where one is heeded.
        await asyncio.sleep(0)
        now = time.time()
        rally = Rally(make_roster(SEED), seed=SEED, start=now - HISTORY_S)
        seed(stores["POSTGRES_URL"], rally, now)
        access = _access(rally.roster)
        directus_url = await stack.enter_async_context(_directus(access))
        recorder = Child(
            name="the recorder",
            command=[sys.executable, "-m", "processor_live_demo.recorder"],
            log=directory / "recorder.log",
            environ={**os.environ, **stores},
        )
        stack.enter_context(recorder)
        async with asyncio.TaskGroup() as group:
            group.create_task(transmit(rally, stores["REDIS_URL"], STREAM))
            async with _alone():
                ws_port = _port(WS_PORT, "the WebSocket")
                metrics_port = _port(METRICS_PORT, "the metrics")
                environ = {
                    **stores,
                    "METRICS_HOST": "127.0.0.1",
                    "METRICS_PORT": str(metrics_port),
                    "DIRECTUS_BASE_URL": directus_url,
                    "LIVE_PLUGINS": PLUGINS,
                    "LIVE_MAP_SIGN_IN_URL": SIGN_IN,
                    "LIVE_MAP_OVERLAY": str(_overlay(directory)),
                }
                service = _service(ws_port, environ, directory)
                stack.enter_context(service)
                await _ready(service, f"http://127.0.0.1:{metrics_port}/readyz")
            origin = f"127.0.0.1:{ws_port}"
            ws_url = f"ws://{origin}/ws-live"
            cookie = access.sign_in(STEWARD)
            _say(
                _programme(rally.roster, ws_url, cookie),
                f"Metrics    http://127.0.0.1:{metrics_port}/metrics and /readyz",
                f"Logs       {directory}\n",
                f"The map    http://{origin}{SIGN_IN} in a browser, then http://{origin}{MAP}",
                *(f"           {user.email}, password {user.password}" for user in access.users.values()),
                "",
            )
            spectator = Spectator(ws_url, cookie, rally.roster.events[0])
            group.create_task(spectator.watch())
            await _report(spectator, service, recorder)


async def _report(spectator: Spectator, *children: Child) -> NoReturn:
    """Print a status line a second; raises ServerError when a child has ended."""
    while True:
        await asyncio.sleep(STATUS_INTERVAL_S)
        _say(spectator.line())
        for child in children:
            child.check()


def _access(roster: Roster) -> Access:
    """Return two users: the steward may follow every event, the visitor only the first."""
    names = {event.id: event.name for event in roster.events}
    return Access(
        [
            User(email=STEWARD, password=PASSWORD, events={*names}, role="steward", first_name="Drita"),
            User(email=VISITOR, password=PASSWORD, events={roster.events[0].id}, reads_users=False),
        ],
        names,
    )


def _overlay(directory: Path) -> Path:
    """Write down what the map shows beneath the cars."""
    path = directory / "overlay.geojson"
    path.write_text(overlay(), encoding="utf-8")
    return path


@asynccontextmanager
async def _directus(access: Access) -> AsyncIterator[str]:
    """Run the stand-in Directus on a free port; yield its URL."""
    runner = web.AppRunner(
        make_directus(access, landing=f"{MAP}#{next(iter(access.names))}"), access_log=None, shutdown_timeout=1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Keep other demos of this machine from choosing ports between our choice and the service's bind.

    The lock is on the directory for temporary files, because a lock file would be a file left behind.
    """
    descriptor = os.open(tempfile.gettempdir(), os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _port(preferred: int, purpose: str) -> int:
    """Return the preferred port, or a free one, and say so, when it is taken."""
    with socket.socket() as probe:
        # As the service will bind: connections that linger from the demo before do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            port = free_port()
            _say(f"Port {preferred} is taken: {purpose} will be on {port}.")
            return port
    return preferred


def _service(port: int, environ: Mapping[str, str], directory: Path) -> Child:
    """Return the service as operators start it."""
    command = [sys.executable, "-m", "aiohttp.web", "-H", "127.0.0.1", "-P", str(port), "processor_live.app:init"]
    return Child(name="the service", command=command, log=directory / "service.log", environ={**os.environ, **environ})


async def _ready(service: Child, url: str) -> None:
    """Wait until the service welcomes clients; raises ServerError when it ends first or takes too long."""
    said = "nothing"
    deadline = time.monotonic() + READY_TIMEOUT_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while time.monotonic() < deadline:
            service.check()
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as response:
                    said = await response.text()
                    if response.status == 200:  # noqa: PLR2004 - OK
                        return
            await asyncio.sleep(0.05)
    raise ServerError(f"the service was not ready after {READY_TIMEOUT_S:g} s, {url} said {said}: {service.log_tail()}")


def _programme(roster: Roster, ws_url: str, cookie: str) -> str:
    """Return what to connect to and how."""
    topics = "\n           ".join(
        f"{event.topic}   {event.name}, {len(event.entries)} devices" for event in roster.events
    )
    subscribe = f'{{"type":"subscribe","topic":"{roster.events[0].topic}"}}'
    wscat = shlex.join(["npx", "-y", "wscat", "-c", ws_url, "-H", f"Cookie: {cookie}", "-x", subscribe, "-w", "5"])
    return (
        f"{len(roster.devices)} devices drive from Shkodër to Theth and back; {len(roster.uncovered)} of them lose"
        f" coverage now and then, for up to {GAP_S[1]:g} s. Ctrl-C ends the demo.\n\n"
        f"Try it     {wscat}\n\n"
        f"WebSocket  {ws_url}\n"
        f"Cookie     {cookie}\n"
        f"Topics     {topics}"
    )


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
