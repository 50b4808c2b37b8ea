"""What one client sees of an event, in one line: a real WebSocket client that comes back when the service goes away."""

import asyncio
import json
import random
import time
from datetime import datetime

import aiohttp

from processor_live_demo.roster import Event

# Waits before the first and later attempts to come back, with jitter, as the contract asks of clients.
BACK_OFF_S = (0.5, 1.0, 2.0, 4.0)
# A service that neither greets nor refuses within this time is treated as gone.
HANDSHAKE_TIMEOUT_S = 5.0


class Disconnected(Exception):  # noqa: N818 - it happens, and the spectator carries on
    """The connection was refused or ended; the message says why in a few words."""


class Spectator:
    """Subscribes to one event and keeps the numbers of what it is shown."""

    def __init__(self, url: str, cookie: str, event: Event) -> None:
        self._url = url
        self._cookie = cookie
        self._event = event
        # Why it is not connected; None while it is subscribed.
        self._problem: str | None = "connecting"
        self._failures = 0
        self._in_snapshot = 0
        self._positions = 0
        # The time of the newest fix of every device, epoch milliseconds.
        self._newest_ms: dict[str, int] = {}

    def line(self) -> str:
        """Return the status since the last call, which is supposed to be a second ago."""
        clock = datetime.now().astimezone().strftime("%H:%M:%S")
        if self._problem is not None:
            return f"{clock}  not connected: {self._problem}"
        positions, self._positions = self._positions, 0
        oldest_s = min(self._newest_ms.values(), default=time.time() * 1000) / 1000
        return (
            f"{clock}  connected, {self._in_snapshot} devices in the snapshot, {positions} positions/s,"
            f" worst age {time.time() - oldest_s:.1f} s"
        )

    async def watch(self) -> None:
        """Stay subscribed, for ever."""
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    await self._attend(session)
                except (Disconnected, aiohttp.ClientError, OSError) as error:
                    self._problem = _reason(error)
                wait_s = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
                self._failures += 1
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))

    async def _attend(self, session: aiohttp.ClientSession) -> None:
        """Subscribe and read until the connection ends, which is always a reason to raise."""
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            socket = await session.ws_connect(self._url, headers={"Cookie": self._cookie})
        async with socket:
            await socket.send_json({"type": "subscribe", "topic": self._event.topic, "id": "spectator"})
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(json.loads(message.data))
        raise Disconnected(f"the service closed with {socket.close_code}")

    def _take(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "subscribed", "snapshot": list(snapshot)}:
                self._problem = None
                self._failures = 0
                self._in_snapshot = len(snapshot)
                self._positions = 0
                self._newest_ms = {entry["deviceId"]: entry["ts"] for entry in snapshot}
            case {"type": "position", "deviceId": str(device), "ts": int(ts)}:
                self._positions += 1
                self._newest_ms[device] = ts
            case {"type": "error", "code": code, "message": reason}:
                raise Disconnected(f"refused with {code}: {reason}")
            case _:
                raise Disconnected(f"the service sent {message.get('type')!r}, which the contract does not know")


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.WSServerHandshakeError():
            return f"refused with HTTP {error.status}"
        case TimeoutError():
            return f"no answer within {HANDSHAKE_TIMEOUT_S:g} s"
        case _:
            return str(error) or type(error).__name__
