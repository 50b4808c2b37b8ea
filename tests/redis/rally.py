"""What do tests of the fan-out publish, and what has come of it?"""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from processor_live.hub import HUB
from processor_live.slots import ROUTE
from tests.running import EVENTUALLY_SECONDS, app_with

FAILING = "check.failing check=fanout"
GOOD = "check.good check=fanout"


@dataclass
class Rally:
    """The application with this plugin alone, and what it has published, in order."""

    app: web.Application
    redis: Redis
    stream: str
    published: list[tuple[str, int]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.app[ROUTE].fill(self._note)

    def _note(self, device: str) -> tuple[str, ...]:
        """Take the place of the routing plugin: it is asked for every position that is news."""
        if device == "poison":
            raise ValueError("a routing plugin with a bug")
        position = self.app[HUB].latest.get(device)
        assert position is not None
        self.published.append((device, position.ts))
        self._news.set()
        return ()

    async def until(self, device: str, ts: int) -> None:
        """Wait until this position has been published."""
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while (device, ts) not in self.published:
                self._news.clear()
                await self._news.wait()

    async def add(self, *records: tuple[str, int], at: int | None = None, **fields: object) -> None:
        """Add a record of each device and `ts`, all at once; their entries are as old as the records, or `at`."""
        pipeline: Any
        async with self.redis.pipeline() as pipeline:
            for device, ts in records:
                pipeline.xadd(self.stream, {"payload": record(device, ts, **fields)}, id=f"{at or ts}-*")
            await pipeline.execute()


async def somebody_waits(redis: Redis, readers: int = 1) -> None:
    """Return when so many wait for the next entry."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while (await redis.info("clients"))["blocked_clients"] < readers:
            pass


def record(device: str, ts: int, **fields: object) -> str:
    """Return the payload of a good record, with some fields changed."""
    timestamp = datetime.fromtimestamp(ts / 1000, UTC).isoformat()
    return json.dumps({"device_id": device, "timestamp": timestamp, "latitude": 41.5, "longitude": 19.5, **fields})


def rally_on(url: str, stream: str, redis: Redis, **environ: str) -> Rally:
    """Return a rally that does not run yet."""
    settings = {
        "REDIS_URL": url,
        "REDIS_TELEMETRY_STREAM": stream,
        "LIVE_BROADCAST_GROUP_PREFIX": f"{stream}:live",
        "LIVE_BROADCAST_BATCH_BLOCK_MS": "100",
    }
    return Rally(app_with("fanout", **{**settings, **environ}), redis, stream)
