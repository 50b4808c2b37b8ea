"""How the records of the rally get onto the stream: plays the GPS ingestion service."""

import asyncio
import time
from collections.abc import Iterable

from redis.asyncio import Redis

from processor_live_demo.rally import Rally, Record

TICK_S = 0.1
# Upstream trims near this length.
STREAM_LENGTH = 1_000_000


async def send(redis: Redis, stream: str, records: Iterable[Record]) -> None:
    """Append records to the stream in one round trip. Raises redis.RedisError."""
    async with redis.pipeline(transaction=False) as pipeline:
        for record in records:
            _ = pipeline.xadd(stream, record.entry(), maxlen=STREAM_LENGTH, approximate=True)  # queued, not sent
        await pipeline.execute()


async def transmit(rally: Rally, redis_url: str, stream: str) -> None:
    """Send the rally to the stream in real time, for ever. Raises redis.RedisError."""
    # With a timeout redis-py sends inside asyncio.wait_for, which on Python 3.11 swallows a cancellation that meets the
    # end of the sending (python/cpython#86296): the task would run on, and the demo could not be ended.
    async with Redis.from_url(redis_url, socket_timeout=None) as redis:
        while True:
            await send(redis, stream, rally.tick(time.time()))
            await asyncio.sleep(TICK_S)
