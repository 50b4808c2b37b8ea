"""Does a viewer go on receiving, whatever happens to the dependencies meanwhile?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.core.wire import metric
from tests.integration.platform import EVENTUALLY_SECONDS, Platform, Viewer, now_ms

STEP_SECONDS = 0.02
SKIPPED = "live_catch_up_skipped_total"


class Watching:
    """A device that drives, and a viewer who sees it."""

    def __init__(self, platform: Platform, viewer: Viewer, imei: str) -> None:
        self._platform = platform
        self._viewer = viewer
        self._imei = imei
        self._sent: list[int] = []
        self._skipped = metric(SKIPPED)
        self._seen = asyncio.Condition()
        self._over = False

    async def goes_on(self) -> None:
        """Wait until the viewer has seen something that was sent after this moment."""
        await self._sees(self._sent[-1] + 1 if self._sent else 0)

    async def _sees(self, ts: int) -> None:
        async with asyncio.timeout(EVENTUALLY_SECONDS), self._seen:
            await self._seen.wait_for(lambda: self._viewer.positions and self._viewer.positions[-1]["ts"] >= ts)

    async def drive(self) -> None:
        """Send one position after another until it is over, which it is when the viewer has seen the last one.

        The viewer has seen all, but for those that the service counted: where it was 2 s behind itself, for once.
        """
        ts = now_ms()
        while not self._over:
            ts = max(ts + 1, now_ms())
            await self._platform.trackers.report(self._imei, ts)
            self._sent.append(ts)
            await asyncio.sleep(STEP_SECONDS)
        await self._sees(self._sent[-1])
        seen = [position["ts"] for position in self._viewer.positions]
        assert seen == sorted(set(seen) & set(self._sent))
        assert len(self._sent) - len(seen) == metric(SKIPPED) - self._skipped

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
    """Let a device drive for as long as this lasts, and a viewer, who has subscribed already, see it."""
    pair = Watching(platform, viewer, imei)
    async with asyncio.TaskGroup() as group:
        seeing = group.create_task(pair.see())
        driving = group.create_task(pair.drive())
        yield pair
        pair.end()
        await driving
        seeing.cancel()
