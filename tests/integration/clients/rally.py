"""How do a thousand devices drive, of which each reports five times a second?"""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.platform import Trackers, now_ms

IMEIS = [f"35209308{number:07}" for number in range(1_000)]
GROUPS = 10
"""They do not report at the same moment."""
PERIOD_SECONDS = 0.2
REST_SECONDS = 0.005
"""For everybody else in this process."""
KEPT = 20_000
"""Entries of the stream: it is not what is measured."""


@asynccontextmanager
async def driving(trackers: Trackers) -> AsyncIterator[None]:
    """Let all devices drive, around circles of one or two kilometres, until the block ends."""
    task = asyncio.create_task(drive(trackers))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def drive(trackers: Trackers) -> None:
    """Report, one group of the devices after the other; on a machine that is too busy, later and not more at once."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for group in itertools.cycle(range(GROUPS)):
        due = loop.time() + PERIOD_SECONDS / GROUPS
        async with trackers.redis.pipeline(transaction=False) as pipeline:
            for number in range(group, len(IMEIS), GROUPS):
                record = trackers.record(IMEIS[number], now_ms(), **place(number, loop.time() - began))
                _ = pipeline.xadd(trackers.stream, trackers._entry(record, IMEIS[number]), maxlen=KEPT)
            await pipeline.execute()
        await asyncio.sleep(max(due - loop.time(), REST_SECONDS))


def place(number: int, seconds: float) -> dict[str, float]:
    """Return where a device is: their circles fill a map of 30 by 30 km."""
    kmh = 30 + number % 60
    angle = number + seconds * kmh / 3600  # of a circle of one kilometre
    row, column = divmod(number, 32)
    return {
        "latitude": 42.2 + row / 120 + math.sin(angle) / 111,
        "longitude": 19.5 + column / 90 + math.cos(angle) / 82,
        "angle": round(-math.degrees(angle)) % 360,
        "speed": kmh,
    }
