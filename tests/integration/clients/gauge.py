"""What does a page cost the browser? Processor time of its own thread, and memory, as the browser counts them."""

import asyncio
from dataclasses import dataclass

from playwright.async_api import CDPSession

from tests.integration.clients.chromium import Tab


@dataclass
class Gauge:
    """Measures a tab."""

    tab: Tab
    _cdp: CDPSession

    @classmethod
    async def on(cls, tab: Tab) -> "Gauge":
        """Return one for this tab."""
        cdp = await tab.page.context.new_cdp_session(tab.page)
        await cdp.send("Performance.enable")
        return cls(tab, cdp)

    async def throttle(self, rate: float) -> None:
        """Let the page's thread be so many times slower; how much of that is its own, `busy_share` cannot tell."""
        await self._cdp.send("Emulation.setCPUThrottlingRate", {"rate": rate})

    async def busy_share(self, seconds: float) -> float:
        """Watch for so long, and return which share of a processor the page's thread had."""
        before = await self._metrics()
        await asyncio.sleep(seconds)
        after = await self._metrics()
        return (after["ThreadTime"] - before["ThreadTime"]) / (after["Timestamp"] - before["Timestamp"])

    async def heap_bytes(self) -> float:
        """Collect what is garbage, and return what is left of the page's objects."""
        await self._cdp.send("HeapProfiler.collectGarbage")
        return (await self._metrics())["JSHeapUsedSize"]

    async def _metrics(self) -> dict[str, float]:
        answer = await self._cdp.send("Performance.getMetrics")
        return {each["name"]: each["value"] for each in answer["metrics"]}
