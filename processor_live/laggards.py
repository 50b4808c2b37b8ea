"""Who is behind, and has it read again?

Only while somebody lags does a timer run: it hands out what they missed as transports drain, and gives up on those that
read nothing for too long.
"""

import asyncio

from processor_live import metrics
from processor_live.connection import Connection
from processor_live.protocol import Disconnect

LOOK_SECONDS = 0.05
"""How often lagging clients are looked at: what it adds to the age of their positions."""
TURN_SECONDS = 0.005
"""How long before the loop may do something else: who reads again may cost 500 us, who reads nothing costs 5."""


class Laggards:
    """The connections that do not keep up."""

    def __init__(self, slow_timeout_s: float) -> None:
        self._slow_timeout_s = slow_timeout_s
        self._progress: dict[Connection, tuple[int, float]] = {}
        """For each: what it had acknowledged, and since when that is so (loop time)."""
        self._somebody = asyncio.Event()

    def add(self, connection: Connection) -> None:
        """Look after `connection` until it has caught up."""
        self._progress[connection] = (connection.acknowledged_bytes, asyncio.get_running_loop().time())
        metrics.LAGGING.inc()
        self._somebody.set()

    def discard(self, connection: Connection) -> None:
        """Forget `connection`: it has caught up, or is closed."""
        if self._progress.pop(connection, None) is not None:
            metrics.LAGGING.dec()

    async def run(self) -> None:
        """Look after all of them, for ever."""
        while True:
            await self._somebody.wait()
            self._somebody.clear()
            while self._progress:
                await asyncio.sleep(LOOK_SECONDS)
                await self.look()

    async def look(self) -> None:
        """Hand out what has room; close with 1013 who has taken nothing for the slow timeout."""
        loop = asyncio.get_running_loop()
        turn_ends = loop.time() + TURN_SECONDS
        for connection in list(self._progress):
            now = loop.time()
            if now >= turn_ends:
                await asyncio.sleep(0)
                now = loop.time()
                turn_ends = now + TURN_SECONDS
            if connection in self._progress:  # it may have gone
                self._look_after(connection, now)

    def _look_after(self, connection: Connection, now: float) -> None:
        acknowledged, since = self._progress[connection]
        has_read_all = not connection.unread_bytes  # so far: whom nothing was handed out to has nothing to read
        if connection.drain():
            self.discard(connection)
        elif has_read_all or connection.acknowledged_bytes > acknowledged:
            self._progress[connection] = (connection.acknowledged_bytes, now)
        elif now - since > self._slow_timeout_s:
            connection.close(Disconnect.SLOW)
