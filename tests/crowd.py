"""What becomes of a crowd of viewers that comes back all at once?"""

import asyncio
import json
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.core.stranger import TEXT, Stranger, frame

IMPATIENCE_SECONDS = (0.5, 1.5)
"""Before a viewer tries again who was not told when."""


@dataclass(frozen=True)
class Refusal:
    """A 503 at the handshake."""

    after_s: float
    retry_after_s: int


@dataclass
class Crowd:
    """Viewers who come back until they follow a topic, each with a session of their own."""

    port: int
    topic: str
    refusals: list[Refusal] = field(default_factory=list)
    undecided: int = 0
    """Subscribes that were answered with `error`."""
    unreachable: int = 0
    """Attempts to connect when nobody listened."""
    waits_s: list[float] = field(default_factory=list)
    """Of those who follow the topic: how long that took, from their first attempt."""
    viewers: list[Stranger] = field(default_factory=list)
    """Those who follow the topic."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for viewer in self.viewers:
            viewer.sock.close()

    async def come(self, cookies: Sequence[str], within_s: float) -> None:
        """Let a viewer for each `Cookie` header come within so many seconds; wait until the last one has got in."""
        async with asyncio.TaskGroup() as group:
            for cookie in cookies:
                group.create_task(self._come(cookie, random.uniform(0, within_s)))

    async def _come(self, cookie: str, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        loop = asyncio.get_running_loop()
        began = loop.time()
        viewer = await self._enter(cookie)
        await self._follow(viewer)
        self.waits_s.append(loop.time() - began)

    async def _enter(self, cookie: str) -> Stranger:
        """Ask for a WebSocket until there is one."""
        loop = asyncio.get_running_loop()
        while True:
            viewer = Stranger(socket.socket())
            viewer.sock.setblocking(False)
            asked = loop.time()
            try:
                await loop.sock_connect(viewer.sock, ("127.0.0.1", self.port))
                status = await viewer.upgrade(f"Cookie: {cookie}")
            except OSError:
                self.unreachable += 1
                pause_s = random.uniform(*IMPATIENCE_SECONDS)
            else:
                if status == 101:
                    self.viewers.append(viewer)
                    return viewer
                assert status == 503, viewer.head
                self.refusals.append(Refusal(loop.time() - asked, int(viewer.header("Retry-After"))))
                pause_s = self.refusals[-1].retry_after_s
            viewer.sock.close()
            await asyncio.sleep(pause_s)

    async def _follow(self, viewer: Stranger) -> None:
        """Subscribe until that is granted."""
        subscribe = frame(TEXT, json.dumps({"type": "subscribe", "topic": self.topic}).encode())
        while True:
            await viewer.send(subscribe)
            answer = await viewer.receive()
            assert answer is not None, "nobody is cut off"
            said = json.loads(answer.payload)
            if said["type"] == "subscribed":
                return
            assert said["code"] == "error", said
            self.undecided += 1
            await asyncio.sleep(random.uniform(*IMPATIENCE_SECONDS))
