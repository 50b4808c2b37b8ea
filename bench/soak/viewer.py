"""How does a viewer come, watch, change his mind, and go?"""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from aiohttp import (
    ClientError,
    ClientSession,
    ClientWebSocketResponse,
    ClientWSTimeout,
    WebSocketError,
    WSMsgType,
    WSServerHandshakeError,
)

from bench.soak.platform import Instance
from bench.soak.view import Findings, View

VISIT_SECONDS = 45.0
"""What somebody stays on average."""
AWAY_SECONDS = (0.5, 5.0)
"""Between two visits; also what passes before somebody comes back whose connection was lost, or who was refused."""
THINK_SECONDS = 1.0
CHANGE_OF_MIND = 0.02
"""How likely somebody leaves or joins a topic, each time he thinks."""
SLOW_BYTES_PER_SECOND = 2_000
PATIENCE_SECONDS = 10.0
"""For a handshake."""


class Manner(Enum):
    """How somebody reads."""

    READS = "reads everything"
    SLOW = "reads 2 kB/s"
    STALLED = "reads nothing once he follows"


@dataclass
class Company:
    """What all viewers share."""

    session: ClientSession
    narrow: ClientSession
    """For those who are slow: their kernel takes little."""
    cookie: str
    findings: Findings
    gathering: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is set everybody is there, stays, and reads."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Why connections did not come about."""
    closes: Counter[int | None] = field(default_factory=Counter)
    """The codes with which connections ended, those that a viewer ended himself not counted."""


class Viewer:
    """Somebody who comes and goes, always to the same instance."""

    def __init__(
        self, number: int, company: Company, instance: Instance, topics: Sequence[str], manner: Manner
    ) -> None:
        self.name = f"viewer {number} of {instance.name}"
        self.instance = instance
        self.view = View(self.name, company.findings)
        self.connected = False
        self.manner = manner
        self._company = company
        self._topics = topics
        self._wanted: set[str] = set()
        self._dice = random.Random(number)
        self._deflates = number // 2 % 2

    async def come_and_go(self) -> None:
        """Visit the instance again and again, for ever."""
        while True:
            await self.instance.open.wait()
            try:
                await self._visit()
            except WSServerHandshakeError as error:
                self._company.refusals[f"HTTP {error.status}"] += 1
            except (ClientError, OSError) as error:
                self._company.refusals[type(error).__name__] += 1
            await asyncio.sleep(self._dice.uniform(*AWAY_SECONDS))

    def lacks(self, newest: dict[str, dict[str, int]]) -> str | None:
        """Return what he does not have yet of the `newest` positions of each topic, None when he has all."""
        if not self.connected:
            return "not connected"
        if self.view.asked or self._wanted != self.view.held.keys():
            return f"not all answered: {list(self.view.asked)}"
        behind = [
            f"{topic} {device}"
            for topic, shown in self.view.held.items()
            for device, ts in newest[topic].items()
            if shown.get(device) != ts
        ]
        return f"behind: {', '.join(behind)}" if behind else None

    async def _visit(self) -> None:
        company = self._company
        session = company.session if self.manner is Manner.READS else company.narrow
        async with asyncio.timeout(PATIENCE_SECONDS):
            socket_ = await session.ws_connect(
                self.instance.url,
                headers={"Cookie": company.cookie},
                compress=15 if self._deflates else 0,
                timeout=ClientWSTimeout(ws_close=2),
                max_msg_size=0,
            )
        self.connected = True
        self.view.begin()
        self._wanted = set(self._topics)
        reading = asyncio.create_task(self._read(socket_))
        try:
            await self._stay(socket_, reading)
            if reading.done():
                company.closes[socket_.close_code] += 1
                await reading
            elif self._dice.random() < 1 / 4:
                self._lose_the_network(socket_)
        finally:
            self.connected = False
            reading.cancel()
            await asyncio.wait([reading])
            await socket_.close()

    @staticmethod
    def _lose_the_network(socket_: ClientWebSocketResponse) -> None:
        """Be gone without a goodbye, as a phone in a tunnel."""
        sock = socket_.get_extra_info("socket")
        if sock is not None:  # the server was not quicker
            sock.shutdown(socket.SHUT_RDWR)

    async def _stay(self, socket_: ClientWebSocketResponse, reading: "asyncio.Task[None]") -> None:
        """Say what he wants to follow, until he has had enough or the connection ends."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._dice.expovariate(1 / VISIT_SECONDS)
        while not reading.done() and (loop.time() < until or self._company.gathering.is_set()):
            waiting = {command["topic"] for command in self.view.asked}
            with suppress(ConnectionError):  # the reader says why
                for topic in sorted(self._wanted - self.view.held.keys() - waiting):
                    await socket_.send_json(self.view.command("subscribe", topic))
                for topic in sorted(self.view.held.keys() - self._wanted - waiting):
                    await socket_.send_json(self.view.command("unsubscribe", topic))
            await asyncio.wait([reading], timeout=THINK_SECONDS)
            if self._dice.random() < CHANGE_OF_MIND and not self._company.gathering.is_set():
                self._wanted ^= {self._dice.choice(self._topics)}

    async def _read(self, socket_: ClientWebSocketResponse) -> None:
        gathering = self._company.gathering
        async for message in socket_:
            if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
                self._company.findings.add("frames that cannot be read", f"{self.name}: {message.data}")
            elif message.type is WSMsgType.TEXT:
                self.view.take(json.loads(message.data))
                if self.manner is Manner.SLOW and not gathering.is_set():
                    await asyncio.sleep(len(message.data) / SLOW_BYTES_PER_SECOND)
                elif self.manner is Manner.STALLED and self._wanted == self.view.held.keys():
                    await gathering.wait()
