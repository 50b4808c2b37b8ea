"""Does a service answer in time, whatever else it is busy with?"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession

RESPONSIVE_SECONDS = 1.0


@asynccontextmanager
async def asking(session: ClientSession, url: str) -> AsyncIterator[list[float]]:
    """Ask for something twenty times a second, and note how many seconds each answer took."""
    seconds: list[float] = []

    async def ask() -> None:
        while True:
            began = time.monotonic()
            async with session.get(url) as response:
                await response.read()
            seconds.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(ask())
    try:
        yield seconds
    finally:
        task.cancel()
        await asyncio.wait([task])
