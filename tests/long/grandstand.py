"""Who of many viewers is cut off, who gets in again, and has anybody missed a position?"""

import asyncio
import json
import os
import re
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, WSMsgType

from tests.integration.platform import Platform, Viewer, now_ms
from tests.integration.process import logged
from tests.running import until

DEVICES = 600
"""In turn: of none is there a second position that a service a little behind could leave the first one out for."""
STEP_SECONDS = 0.05


@dataclass
class Worker:
    """One of the processes behind the port."""

    pid: int
    health: str

    @classmethod
    async def all_of(cls, process: Process, count: int) -> "list[Worker]":
        """Return those that `process` has just started, in their order, when all of them read the stream."""
        lines: list[str] = []
        for _ in range(count):
            await logged(process, r"check\.good check=fanout", lines)
        log = "".join(lines)
        pids = dict(re.findall(r"worker\.started worker=(\d+) pid=(\d+)", log))
        ports = {number: port for port, number in re.findall(r"health\.listening .*port=(\d+) .*-(\d+)-\w+\n", log)}
        return [cls(int(pids[str(number)]), f"http://127.0.0.1:{ports[str(number)]}") for number in range(count)]

    async def viewers(self, session: ClientSession) -> int:
        """Return how many it has."""
        async with session.get(f"{self.health}/metrics") as response:
            (value,) = re.findall(r"^live_connections (\S+)$", await response.text(), re.MULTILINE)
        return int(float(value))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


@dataclass
class Seat:
    """A viewer, and what they have been shown until they were cut off."""

    viewer: Viewer
    before: int
    """The `ts` of the newest position in their snapshot."""
    shown: list[int] = field(default_factory=list)
    cut: bool = False

    async def watch(self) -> None:
        """Take what comes, until nothing comes any more."""
        while (message := await self.viewer.socket.receive()).type is WSMsgType.TEXT:
            self.shown.append(json.loads(message.data)["ts"])
        self.cut = True


class Grandstand:
    """Viewers of an event whose devices report in turn, without a pause."""

    def __init__(self, platform: Platform, event: str, port: str, cookie: str, group: asyncio.TaskGroup) -> None:
        self._platform = platform
        self._topic = f"event:{event}"
        self._url = f"http://127.0.0.1:{port}/ws-live"
        self._cookie = cookie
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []
        self._sent: list[int] = []
        self._over = False
        self.seats: list[Seat] = []
        self._driving = group.create_task(self._drive())

    @property
    def cut(self) -> int:
        """How many have been cut off so far."""
        return sum(seat.cut for seat in self.seats)

    async def _drive(self) -> None:
        while not self._over:
            ts = max(now_ms(), self._sent[-1] + 1 if self._sent else 0)
            await self._platform.trackers.report(str(len(self._sent) % DEVICES), ts)
            self._sent.append(ts)
            await asyncio.sleep(STEP_SECONDS)

    async def take_a_seat(self) -> Seat:
        """Let somebody in who then watches. Raises what aiohttp does when they are not let in."""
        viewer = await self._platform.viewer(self._url, self._cookie)
        snapshot = await viewer.snapshot(self._topic)
        seat = Seat(viewer, max((entry["ts"] for entry in snapshot.values()), default=0))
        self.seats.append(seat)
        self._tasks.append(self._group.create_task(seat.watch()))
        return seat

    async def insist(self) -> Seat:
        """Let somebody try until they are in."""
        while True:
            try:
                return await self.take_a_seat()
            except (ClientError, TypeError):  # aiohttp's for a connection that is closed under a text that it waits for
                await asyncio.sleep(STEP_SECONDS)

    async def _served(self, seat: Seat) -> None:
        """Wait until somebody has been shown the last position, or cut off."""
        await until(lambda: seat.cut or seat.shown[-1:] == self._sent[-1:])

    async def end(self) -> None:
        """Let the devices stop; see that nobody has missed anything from when they came to when they were cut off."""
        self._over = True
        await self._driving
        for seat in self.seats:
            await self._served(seat)
            begin = self._sent.index(seat.before) + 1 if seat.before else 0
            assert seat.shown == self._sent[begin : begin + len(seat.shown)]
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def grandstand(platform: Platform, event: str, port: str, cookie: str) -> AsyncIterator[Grandstand]:
    """Let the devices of an event report, and nobody watch yet; at the end, see that nobody has missed anything."""
    async with asyncio.TaskGroup() as group:
        stand = Grandstand(platform, event, port, cookie, group)
        yield stand
        await stand.end()
