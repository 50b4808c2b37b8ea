"""How is the service run as operators run it, and asked how it is?"""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientError, ClientSession

from processor_live_demo.child import Child
from processor_live_demo.embedded import free_port

STREAM = "bench:telemetry"
READY_SECONDS = 30.0
LAG_EVERY_SECONDS = 0.1
"""Often enough to see, and seldom enough not to be what is measured."""


def settings_of(redis_url: str, postgres_url: str, directus_url: str) -> dict[str, str]:
    """Return the settings of an instance between these servers, on free ports; all viewers are of one user."""
    return {
        "REDIS_URL": redis_url,
        "REDIS_TELEMETRY_STREAM": STREAM,
        "POSTGRES_URL": postgres_url,
        "DIRECTUS_BASE_URL": directus_url,
        "LIVE_WS_HOST": "127.0.0.1",
        "LIVE_WS_PORT": str(free_port()),
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": str(free_port()),
        "LIVE_WS_MAX_CONNECTIONS_PER_USER": "1000000",
    }


def service(settings: Mapping[str, str], log: Path) -> Child:
    """Return the process of an instance with these settings, not started yet."""
    return Child(
        name="the service",
        command=[sys.executable, "-m", "processor_live", "serve"],
        log=log,
        environ={**os.environ, **settings},
    )


@dataclass
class Health:
    """An instance's port for metrics and health."""

    session: ClientSession
    url: str

    async def metric(self, name: str, label: str = "") -> float:
        """Return a metric, summed over its labels, or those that have this one, e.g. `code="1013"`."""
        async with self.session.get(f"{self.url}/metrics") as response:
            text = await response.text()
        found = re.findall(rf"^{name}( |\{{[^}}]*\}} )([0-9.e+-]+)$", text, re.MULTILINE)
        return sum(float(value) for labels, value in found if label in labels)

    async def loop_lag(self, lags_s: list[float]) -> None:
        """Note for ever how long the service takes to say that it lives: its loop can do it no sooner than its turn."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            async with self.session.get(f"{self.url}/healthz") as response:
                await response.read()
            lags_s.append(loop.time() - asked)
            await asyncio.sleep(LAG_EVERY_SECONDS)

    async def ready(self, service: Child) -> None:
        """Wait until the service welcomes viewers. Raises `ServerError` when it ends, `TimeoutError`."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                service.check()
                with suppress(ClientError):  # not listening yet
                    async with self.session.get(f"{self.url}/readyz") as response:
                        if response.ok:
                            return
                await asyncio.sleep(0.05)
