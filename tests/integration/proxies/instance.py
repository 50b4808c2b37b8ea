"""One instance of several behind a proxy: a process that ends, and another one in its place."""

import asyncio
import signal
from asyncio.subprocess import Process
from dataclasses import dataclass, field

from aiohttp import ClientError, web

from processor_live_demo.embedded import free_port
from tests.integration.platform import EVENTUALLY_SECONDS, Served
from tests.integration.process import SERVE, Start

POLL_SECONDS = 0.05


@dataclass
class Instance(Served):
    """Always at the same address, where its proxy expects it."""

    start: Start
    settings: dict[str, str]
    url: str = field(init=False)
    _process: Process = field(init=False)

    def __post_init__(self) -> None:
        live_port, metrics_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{live_port}"
        self._readyz = f"http://127.0.0.1:{metrics_port}/readyz"
        self.settings = {**self.settings, "LIVE_WS_PORT": str(live_port), "METRICS_PORT": str(metrics_port)}

    async def begin(self) -> None:
        """Start, and wait as an operator does until it is ready."""
        self._process = await self.start(*SERVE, **self.settings)
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while not await self._is_ready():  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(POLL_SECONDS)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self._process.send_signal(number)
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            return await self._process.wait()

    async def _is_ready(self) -> bool:
        try:
            async with self.session.get(self._readyz) as response:
                return response.status == web.HTTPOk.status_code
        except ClientError:  # nobody listens yet
            return False
