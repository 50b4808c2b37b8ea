"""Does a viewer go on receiving, whatever happens to the dependencies meanwhile?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.platform import EVENTUALLY_SECONDS, Platform, Viewer, now_ms

STEP_SECONDS = 0.02


class Watching:
    """A device that drives, and a viewer who sees it."""

    def __init__(self, platform: Platform, viewer: Viewer, imei: str) -> None:
        self._platform = platform
        self._viewer = viewer
        self._imei = imei
        self._sent: list[int] = []
        self._seen = asyncio.Condition()
        self._over = False

    async def goes_on(self) -> None:
        """Wait until the viewer has seen something that was sent after this moment."""
        await self._sees(len(self._sent) + 1)

    async def _sees(self, count: int) -> None:
        async with asyncio.timeout(EVENTUALLY_SECONDS), self._seen:
            await self._seen.wait_for(lambda: len(self._viewer.positions) >= count)

    async def drive(self) -> None:
        """Send one position after another until it is over, which it is when the viewer has seen them all."""
        ts = now_ms()
        while not self._over:
            ts = max(ts + 1, now_ms())
            await self._platform.trackers.report(self._imei, ts)
            self._sent.append(ts)
            await asyncio.sleep(STEP_SECONDS)
        await self._sees(len(self._sent))
        assert [position["ts"] for position in self._viewer.positions] == self._sent

    async def see(self) -> None:
        """Take what comes to the viewer."""
        while True:
            await self._viewer.position()
            async with self._seen:
                self._seen.notify_all()

    def end(self) -> None:
        """Let it be over."""
        self._over = True


@asynccontextmanager
async def watching(platform: Platform, viewer: Viewer, imei: str) -> AsyncIterator[Watching]:
    """Let a device drive for as long as this lasts, and a viewer, who has subscribed already, see every position."""
    pair = Watching(platform, viewer, imei)
    async with asyncio.TaskGroup() as group:
        seeing = group.create_task(pair.see())
        driving = group.create_task(pair.drive())
        yield pair
        pair.end()
        await driving
        seeing.cancel()
