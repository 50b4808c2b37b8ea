"""What do the devices report meanwhile? By the clock, whatever becomes of Redis."""

import asyncio
import time
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bench.publisher import entry
from bench.service import STREAM

TICK_SECONDS = 0.05
PATIENCE_SECONDS = 2.0
"""What Redis may take; then the records are lost, as a tracker's are when its gateway cannot reach Redis."""
STREAM_LENGTH = 100_000
"""Upstream keeps ten times as many; what restarts of Redis have to load, and this process its memory, is smaller so."""


class Trackers:
    """The devices, which report in turn, `rate` records a second."""

    def __init__(self, redis_url: str, imeis: Sequence[int], rate: int) -> None:
        self._redis = Redis.from_url(redis_url, socket_timeout=None)
        self._imeis = imeis
        self._rate = rate
        self._newest = dict.fromkeys(imeis, 0)
        self._turn = 0
        self._driving = asyncio.Event()
        self._driving.set()
        self._sending = asyncio.Lock()
        self.sent = 0
        """Records that Redis has taken."""
        self.lost = 0
        """Records that it may not have taken."""

    async def drive(self) -> None:
        """Report for ever; nothing is made up for after a pause."""
        loop = asyncio.get_running_loop()
        due, last = 0.0, loop.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            due, last = min(due + (now - last) * self._rate, self._rate), now
            if self._driving.is_set():
                await self._report(int(due))
                due -= int(due)

    async def stop(self) -> dict[str, int]:
        """Have every device report once more and then rest; return the newest `ts` of each, as all must have it."""
        self._driving.clear()
        while not await self._report(len(self._imeis)):  # noqa: ASYNC110 - Redis tells nobody that it is back
            await asyncio.sleep(PATIENCE_SECONDS / 4)
        return {str(imei): ts for imei, ts in self._newest.items()}

    def go_on(self) -> None:
        """Let them report again."""
        self._driving.set()

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def _report(self, count: int) -> bool:
        """Send the records of the next devices; return whether Redis has taken them."""
        async with self._sending:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                    for _ in range(count):
                        imei = self._imeis[self._turn % len(self._imeis)]
                        self._turn += 1
                        self._newest[imei] = max(self._newest[imei] + 1, time.time_ns() // 1_000_000)
                        _ = pipeline.xadd(STREAM, entry(imei, self._newest[imei]), maxlen=STREAM_LENGTH)
                    await pipeline.execute()
            except (RedisError, OSError):
                self.lost += count
                return False
        self.sent += count
        return True
