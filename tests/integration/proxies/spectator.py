"""What does a spectator see who comes back as docs/contract.md §9 says, whatever becomes of the instances?"""

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from tests.integration.proxies.front import Front

ABNORMAL, RESTART = 1006, 1012
BASE_SECONDS, CAP_SECONDS, STABLE_SECONDS = 1.0, 30.0, 30.0
"""BASE_MS, CAP_MS and STABLE_MS."""

Entry = dict[str, Any]


@dataclass
class Spectator:
    """Somebody who follows one event for as long as the test lasts."""

    front: Front
    cookie: str
    topic: str
    follows: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while he has a map."""
    ends: Counter[int] = field(default_factory=Counter)
    """How often each close code ended a connection, or each status a handshake."""
    steps_back: list[str] = field(default_factory=list)
    """What he had seen and was taken from him."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _newest: dict[str, int] = field(default_factory=dict)
    _seen_at: float | None = None
    _longest_s: float = 0.0

    async def watch(self) -> None:
        """Follow the event, and come back whenever the connection ends."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            code = await self._visit()
            self.follows.clear()
            self.ends[code] += 1
            if loop.time() - began >= STABLE_SECONDS:
                failures = 0
            bound = BASE_SECONDS if code == RESTART else min(CAP_SECONDS, BASE_SECONDS * 2**failures)
            failures += code != RESTART
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0, bound)):
                    await self._woken.wait()

    def wake(self) -> None:
        """Look at the page again: who waits to come back does so now."""
        self._woken.set()

    async def _visit(self) -> int:
        """Follow the event until the connection ends; return its close code, or the status of a refusal."""
        try:
            socket = (await self.front.browser(self.cookie)).socket
        except WSServerHandshakeError as refusal:
            return refusal.status
        with suppress(ConnectionError):  # it has ended before he has asked
            await self._follow(socket)
        return socket.close_code or ABNORMAL

    async def _follow(self, socket: ClientWebSocketResponse) -> None:
        await socket.send_json({"type": "subscribe", "topic": self.topic})
        async for frame in socket:
            assert frame.type is WSMsgType.TEXT, frame
            message: Entry = json.loads(frame.data)
            self.look()
            if message["type"] == "position":
                self._move(message)
            else:
                assert message["type"] == "subscribed", message
                self._replace({entry["deviceId"]: entry["ts"] for entry in message["snapshot"]})

    def look(self) -> float:
        """See something, or that there is nothing yet; return the longest time between two looks."""
        now = asyncio.get_running_loop().time()
        if self._seen_at is not None:
            self._longest_s = max(self._longest_s, now - self._seen_at)
        self._seen_at = now
        return self._longest_s

    def _replace(self, shown: dict[str, int]) -> None:
        for device, ts in self._newest.items():
            if shown.get(device, -1) < ts:
                self.steps_back.append(f"{device}: {shown.get(device)} in a map after {ts}")
        self._newest = {**self._newest, **shown}
        self.follows.set()

    def _move(self, position: Entry) -> None:
        device, ts = position["deviceId"], position["ts"]
        if ts <= self._newest.get(device, -1):
            self.steps_back.append(f"{device}: {ts} after {self._newest[device]}")
        self._newest[device] = ts
