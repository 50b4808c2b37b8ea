"""How do the trackers' positions get from the stream to the hub? (docs/contract.md §6.1)

Redis does the gathering: read what is there, publish it, and read again when the hub may write again. The first record
after a quiet moment goes at once, the rest wait in the stream, and a slow reader simply reads more.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import Counter, Gauge
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from processor_live import (
    ENVIRON,
    HEALTH,
    HUB,
    SETTINGS,
    Check,
    Hub,
    Position,
    StartError,
    integer,
    load,
    one_line,
    run_in_background,
    text,
    url,
)
from processor_live_redis.group import Entry, Group, InstanceTakenError
from processor_live_redis.record import RecordDecoder, UnusableRecordError, entry_ms

log = logging.getLogger(__name__)

RECORDS = Counter("live_records_total", "Stream entries read")
UNUSABLE = Counter("live_unusable_records_total", "Stream entries skipped, by flaw", ["flaw"])
SKIPPED = Counter("live_catch_up_skipped_total", "Positions not sent because a newer one was in the same backlog")
BEHIND = Gauge("live_stream_behind_seconds", "How far the last entry read is behind the newest of the stream")
LAST_READ = Gauge("live_stream_last_entry_timestamp_seconds", "When the last entry read was added to the stream")

CATCH_UP_MS = 2_000
"""Behind by more than this, only the newest position per device goes out (docs/contract.md §5 G4)."""
WARM_MS = 300_000
"""How far back the tail of the stream is read at start: longer than the durable writer should ever lag."""
WARM_ENTRIES = 100_000
"""The same in entries: under a second of work."""
CONNECT_SECONDS = 3
GRACE_SECONDS = 5
"""What Redis may take to answer beyond the time a read blocks."""
BACKOFF_SECONDS = (0.1, 5.0)
"""Between attempts to read again: the first and the longest, doubling, with jitter."""
GOODBYE_SECONDS = 1.0
"""What destroying the group may take at a stop: without Redis, the next start reaps it."""


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """The keys of the fan-out plugin."""

    url: str = url("REDIS_URL", None, ("redis", "rediss", "unix"), "where the telemetry stream is")
    stream: str = text(
        "REDIS_TELEMETRY_STREAM", "telemetry:teltonika", r"\S+", "a key without spaces", "the stream's key"
    )
    group_prefix: str = text(
        "LIVE_BROADCAST_GROUP_PREFIX", "live-broadcast", r"[\w.:-]+", "letters, digits, '_', '.', ':' or '-'",
        "begins the names of the consumer groups",
    )  # fmt: skip
    batch_size: int = integer("LIVE_BROADCAST_BATCH_SIZE", 500, 1, 10_000, "entries read at once")
    block_ms: int = integer(
        "LIVE_BROADCAST_BATCH_BLOCK_MS", 1_000, 1, 5_000, "how long one read waits for the first entry"
    )

    def __post_init__(self) -> None:
        try:
            parse_url(self.url)
        except ValueError:  # its message may quote a part of the password
            raise StartError(
                "processor-live: REDIS_URL cannot be read: in a password '/', '@', ':', '?', '#' and '%' must be "
                "percent-encoded, and a port is a number"
            ) from None


def setup(app: web.Application) -> None:
    """Publish what the stream says for as long as the application runs."""
    settings = load(RedisSettings, app[ENVIRON])
    core = app[SETTINGS]
    check = app[HEALTH].check("fanout", critical=True, problem="the stream has not been read yet")
    decoder = RecordDecoder(include_attributes=core.include_attributes)
    fanout = Fanout(settings, app[HUB], check, decoder, core.instance_id, core.flush_interval_ms / 1000)
    app.cleanup_ctx.append(fanout.context)
    run_in_background(app, "fanout", fanout.run)


class PatientRedis(Redis):
    """A Redis client whose every command is answered in time or fails.

    Not by redis-py's own `socket_timeout`: on Python 3.11 that may swallow the cancellation of a stop.
    """

    def __init__(self, pool: ConnectionPool, patience_s: float) -> None:
        super().__init__(connection_pool=pool)
        self._patience_s = patience_s

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        """Do what redis-py does. Raises `TimeoutError` (an `OSError`) after the patience."""
        async with asyncio.timeout(self._patience_s):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


class Fanout:
    """Reads the stream with this instance's own group and publishes each usable record."""

    def __init__(  # noqa: PLR0913, PLR0917 - wired in one place
        self, settings: RedisSettings, hub: Hub, check: Check, decoder: RecordDecoder, instance: str, interval_s: float
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._check = check
        self._decoder = decoder
        self._instance = instance
        self._interval_s = interval_s
        self._group: Group
        self._warmed = False
        self._flaws_logged: set[str] = set()

    async def context(self, _: web.Application) -> AsyncIterator[None]:
        """Keep a Redis client; at the end, destroy the group."""
        settings = self._settings
        pool = ConnectionPool.from_url(
            settings.url,
            protocol=2,  # the shapes that `group` reads
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,  # see PatientRedis; redis-py's default of 5 s would cut the longest blocking read
            retry=Retry(NoBackoff(), 0),  # a read repeated blindly would lose what the first one was given
        )
        redis = PatientRedis(pool, settings.block_ms / 1000 + GRACE_SECONDS)
        self._group = Group(redis, settings.stream, settings.group_prefix, self._instance)
        yield
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._group.close()
        except (RedisError, OSError) as error:
            log.warning("group.left_behind error=%r", one_line(error))
        await redis.aclose(close_connection_pool=True)

    async def run(self) -> None:
        """Read for ever; whatever becomes of Redis, come back with back-off and go on after the last entry read."""
        shortest, longest = BACKOFF_SECONDS
        pause = shortest
        while True:
            try:
                await self._group.open()
                if not self._warmed:
                    await self._warm()
                while True:
                    await self._step()
                    pause = shortest
                    self._check.good()
            except (RedisError, OSError, InstanceTakenError) as error:
                self._check.failing(one_line(error))
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads instances, hides nothing
                pause = min(2 * pause, longest)

    async def _warm(self) -> None:
        """Fill the latest table from the tail: what the durable writer has not written yet must not be missing (G3)."""
        newest = self._group.last
        if newest is None:
            return
        latest: dict[str, Position] = {}
        async for entry in self._group.backwards(newest, entry_ms(newest) - WARM_MS, WARM_ENTRIES):
            _keep_newest(latest, self._positions([entry]))
        for position in latest.values():
            self._publish(position)
        self._warmed = True
        log.info("stream.warmed devices=%d", len(latest))

    async def _step(self) -> None:
        """Read once and publish; then, unless there is more, wait until the hub may write again."""
        loop = asyncio.get_running_loop()
        entries = await self._group.read(self._settings.batch_size, self._settings.block_ms)
        if not entries:
            return
        began = loop.time()
        RECORDS.inc(len(entries))
        LAST_READ.set(entry_ms(entries[-1][0]) / 1000)
        full = len(entries) == self._settings.batch_size
        behind_ms = self._group.behind_ms(await self._group.tail()) if full else 0
        BEHIND.set(behind_ms / 1000)
        positions = self._positions(entries)
        if max(behind_ms, entry_ms(entries[-1][0]) - entry_ms(entries[0][0])) > CATCH_UP_MS:
            newest = _keep_newest({}, positions)
            SKIPPED.inc(len(positions) - len(newest))
            positions = list(newest.values())
        for position in positions:
            self._publish(position)
        if full:
            return
        await self._hub.rest()
        if (rest := began + self._interval_s - loop.time()) > 0:
            await asyncio.sleep(rest)

    def _positions(self, entries: Sequence[Entry]) -> list[Position]:
        positions = []
        for entry_id, entry in entries:
            try:
                positions.append(self._decoder.position(entry_id, entry))
            except UnusableRecordError as error:
                self._count(error.flaw.value, entry_id, str(error))
        return positions

    def _publish(self, position: Position) -> None:
        try:
            self._hub.publish(position)
        except Exception as error:  # noqa: BLE001 - a plugin behind a slot, whatever it is (G8)
            self._count("unpublished", b"-", one_line(error))

    def _count(self, flaw: str, entry_id: bytes, detail: str) -> None:
        """Count an unusable record; log the first of each kind, without any of its content."""
        UNUSABLE.labels(flaw).inc()
        if flaw not in self._flaws_logged:
            self._flaws_logged.add(flaw)
            log.warning(
                "record.unusable flaw=%s entry=%s detail=%r (further ones are only counted)",
                flaw,
                entry_id.decode(),
                detail,
            )


def _keep_newest(newest: dict[str, Position], positions: Sequence[Position]) -> dict[str, Position]:
    """Put into `newest` the newest position of each device, and return it."""
    for position in positions:
        known = newest.get(position.device_id)
        if known is None or position.ts > known.ts:
            newest[position.device_id] = position
    return newest
