"""Who watches, and is everybody up to date?"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from bench.soak.platform import Instance, Platform
from bench.soak.view import Findings
from bench.soak.viewer import Company, Manner, Viewer

SLOW_EVERY, STALLED_EVERY = 16, 32
"""One of so many viewers."""
RECEIVE_BUFFER_BYTES, SEGMENT_BYTES = 4_096, 536
"""Of a client that is slow: what it does not read shows on the server soon, and what it reads, too."""


@dataclass
class Crowd:
    """All viewers."""

    company: Company
    viewers: list[Viewer]
    devices: dict[str, list[str]]
    """Those of each topic."""

    @property
    def positions(self) -> int:
        """How many positions all of them have received, ever."""
        return sum(viewer.view.positions for viewer in self.viewers)

    def connected(self, instance: Instance) -> int:
        """Return how many are connected to an instance."""
        return sum(viewer.connected for viewer in self.viewers if viewer.instance is instance)

    def lacking(self, newest: dict[str, int]) -> list[str]:
        """Return who lacks what, if all must have the `newest` position of every device."""
        newest_of = {topic: {device: newest[device] for device in devices} for topic, devices in self.devices.items()}
        found = ((viewer.name, viewer.lacks(newest_of)) for viewer in self.viewers)
        return [f"{name}: {what}" for name, what in found if what is not None]


@asynccontextmanager
async def gathered(count: int, platform: Platform, findings: Findings) -> AsyncIterator[Crowd]:
    """Let so many viewers come and go meanwhile."""
    async with _session() as session, _session(socket_factory=_narrow) as narrow:
        company = Company(session, narrow, platform.directus.cookie, findings)
        topics = [event.topic for event in platform.roster.events]
        viewers = []
        for number in range(count):
            instance = platform.instances[number % len(platform.instances)]
            manner = _manner(number)
            mine = random.Random(number).sample(topics, 1 + number // 4 % 2)
            if manner is not Manner.READS:
                mine = topics  # or he would never be behind
            viewers.append(Viewer(number, company, instance, mine, manner))
        devices = {event.topic: [entry.device.imei for entry in event.entries] for event in platform.roster.events}
        async with asyncio.TaskGroup() as group:
            visits = [group.create_task(viewer.come_and_go()) for viewer in viewers]
            yield Crowd(company, viewers, devices)
            for visit in visits:
                visit.cancel()


def _manner(number: int) -> Manner:
    if number % STALLED_EVERY in {1, 2}:
        return Manner.STALLED
    return Manner.SLOW if number % SLOW_EVERY in {4, 7} else Manner.READS


def _session(**options: Any) -> ClientSession:  # noqa: ANN401 - as aiohttp has them
    return ClientSession(connector=TCPConnector(limit=0, **options), cookie_jar=DummyCookieJar())


def _narrow(address: Any) -> socket.socket:  # noqa: ANN401 - as getaddrinfo has it
    """Return a socket whose kernel takes little, so that the server sees who does not read."""
    family, type_, protocol, *_ = address
    sock = socket.socket(family, type_, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    return sock
