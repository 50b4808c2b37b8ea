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
                self.look(asyncio.get_running_loop().time())

    def look(self, now: float) -> None:
        """Hand out what has room; close with 1013 who has taken nothing since `now` less the slow timeout."""
        for connection, (acknowledged, since) in list(self._progress.items()):
            has_read_all = not connection.unread_bytes  # so far: whom nothing was handed out to has nothing to read
            if connection.drain():
                self.discard(connection)
            elif has_read_all or connection.acknowledged_bytes > acknowledged:
                self._progress[connection] = (connection.acknowledged_bytes, now)
            elif now - since > self._slow_timeout_s:
                connection.close(Disconnect.SLOW)
