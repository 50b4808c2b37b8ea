"""How do the trackers' positions get from the stream to the hub? (docs/contract.md §6.1)

Redis does the gathering: read what is there, publish it, and read again when the hub may write again. The first record
after a quiet moment goes at once, the rest wait in the stream, and a slow reader simply reads more.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence

from aiohttp import web
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from processor_live import ENVIRON, HEALTH, HUB, SETTINGS, Health, Hub, Position, load, one_line, run_in_background
from processor_live_redis.backlog import Backlog
from processor_live_redis.connection import RedisSettings, patient_redis
from processor_live_redis.flaws import UNPUBLISHED, Flaws
from processor_live_redis.group import Entry, Group, InstanceTakenError
from processor_live_redis.record import RecordDecoder, UnusableRecordError, entry_ms

log = logging.getLogger(__name__)

RECORDS = Counter("live_records_total", "Stream entries read")
SKIPPED = Counter("live_catch_up_skipped_total", "Positions not sent because a newer one was in the same backlog")
BEHIND = Gauge("live_stream_behind_seconds", "How far the last entry read is behind the newest of the stream")
LAST_READ = Gauge("live_stream_last_entry_timestamp_seconds", "When the last entry read was added to the stream")

CATCH_UP_MS = 2_000
"""Behind by more than this, only the newest position per device goes out (docs/contract.md §5 G4)."""
HOLD_SECONDS = 5
"""While behind, that goes out when all has been read, or after this: who cannot catch up shows something, too."""
POSITIONS_PER_TURN = 500
"""Published before the loop may do something else."""
WARM_MS = 300_000
"""How far back the tail of the stream is read at start: longer than the durable writer should ever lag."""
WARM_ENTRIES = 100_000
"""The same in entries: under a second of work."""
BACKOFF_SECONDS = (0.1, 5.0)
"""Between attempts to read again: the first and the longest, doubling, with jitter."""
GOODBYE_SECONDS = 1.0
"""What destroying the group may take at a stop: without Redis, the next start reaps it."""


def setup(app: web.Application) -> None:
    """Publish what the stream says for as long as the application runs."""
    settings = load(RedisSettings, app[ENVIRON])
    core = app[SETTINGS]
    decoder = RecordDecoder(include_attributes=core.include_attributes)
    fanout = Fanout(settings, app[HUB], app[HEALTH], decoder, core.instance_id, core.flush_interval_ms / 1000)
    app.cleanup_ctx.append(fanout.context)
    run_in_background(app, "fanout", fanout.run)


class Fanout:
    """Reads the stream with this instance's own group and publishes each usable record."""

    def __init__(  # noqa: PLR0913, PLR0917 - wired in one place
        self, settings: RedisSettings, hub: Hub, health: Health, decoder: RecordDecoder, instance: str,
        interval_s: float,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._hub = hub
        self._decoder = decoder
        self._interval_s = interval_s
        self._reading = health.check("fanout", critical=True, problem="the stream has not been read yet")
        self._timely = health.check("backlog")
        self._flaws = Flaws(health.check("records"))
        self._liveness = health.check("liveness")
        self._instance = instance
        self._group: Group
        self._warmed = False
        self._backlog = Backlog()
        self._level_at = 0.0
        """When it was last asked for entries and had no more of them (loop time), or the group was made at its tail.

        What comes was added later, whatever the stream's clock says, which may jump or be wrong.
        """
        self._held_since: float | None = None
        """Since when the backlog is held back (loop time)."""

    async def context(self, _: web.Application) -> AsyncIterator[None]:
        """Keep a Redis client; at the end, destroy the group."""
        settings = self._settings
        redis = patient_redis(settings)
        group = self._group = Group(redis, settings.stream, settings.group_prefix, self._instance, self._liveness)
        yield
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await group.close()
        except (RedisError, OSError) as error:
            log.warning("group.left_behind group=%s error=%r: another instance reaps it", group.name, one_line(error))
        await redis.aclose(close_connection_pool=True)

    async def run(self) -> None:
        """Read for ever; whatever becomes of Redis, come back with back-off and go on after the last entry read."""
        shortest, longest = BACKOFF_SECONDS
        pause = shortest
        while True:
            try:
                await self._open()
                if not self._warmed:
                    await self._warm()
                await self._step(None)  # that the stream is being read is known before something comes
                self._reading.good()
                while True:
                    await self._step(self._settings.block_ms)
                    self._reading.good()
                    pause = shortest  # not before: between here and Redis may be who cuts all that waits
            except (RedisError, OSError, InstanceTakenError) as error:
                self._reading.failing(one_line(error))
                await self._send()
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads instances, hides nothing
                pause = min(2 * pause, longest)

    async def _open(self) -> None:
        first, began = self._group.last is None, asyncio.get_running_loop().time()
        await self._group.open()
        if first:
            self._level_at = began

    async def _warm(self) -> None:
        """Fill the latest table from the tail: what the durable writer has not written yet must not be missing (G3)."""
        newest = self._group.last
        if newest is None:
            return
        tail = Backlog()
        async for entry in self._group.backwards(newest, entry_ms(newest) - WARM_MS, WARM_ENTRIES):
            tail.add(self._positions([entry]))
            tail.keep_newest()
        devices = tail.take()
        await self._publish(devices)
        self._warmed = True
        log.info("stream.warmed devices=%d", len(devices))

    async def _step(self, block_ms: int | None) -> None:
        """Read once and publish; then, unless there is more, wait until the hub may write again.

        For the first entry it waits at most `block_ms`, not at all if that is None.
        """
        loop = asyncio.get_running_loop()
        count = self._group.at_once(self._settings.batch_size)
        asked = loop.time()
        entries = await self._group.read(count, block_ms)
        began = loop.time()
        now_ms, since_level_ms = int(time.time() * 1000), int((began - self._level_at) * 1000)
        full = len(entries) == count
        if not full:
            self._level_at = asked
        if entries:
            RECORDS.inc(len(entries))
            LAST_READ.set(entry_ms(entries[-1][0]) / 1000)
            # at once: it is read, and must be sent whatever comes now
            self._backlog.add(self._positions(entries, now_ms - since_level_ms))
        behind_ms = await self._group.behind_ms(CATCH_UP_MS) if full else 0
        spread_ms = entry_ms(entries[-1][0]) - entry_ms(entries[0][0]) if entries else 0
        if entries and entry_ms(entries[-1][0]) + behind_ms > now_ms + CATCH_UP_MS:  # its clock, or ours, has jumped
            behind_ms, spread_ms = min(behind_ms, since_level_ms), min(spread_ms, since_level_ms)
        self._tell_how_far_behind(behind_ms)
        if max(behind_ms, spread_ms) > CATCH_UP_MS or self._held_since is not None:
            SKIPPED.inc(self._backlog.keep_newest())
        if behind_ms > CATCH_UP_MS:
            self._held_since = self._held_since or began
            if began - self._held_since < HOLD_SECONDS:
                return
        await self._send()
        if full or not entries:
            return
        await self._hub.rest()
        if (rest := began + self._interval_s - loop.time()) > 0:
            await asyncio.sleep(rest)

    def _tell_how_far_behind(self, behind_ms: int) -> None:
        BEHIND.set(behind_ms / 1000)
        if behind_ms > CATCH_UP_MS:
            far = f"{behind_ms / 1000:.0f} s behind the stream"
            self._timely.failing(f"{far}: only the newest position of each device is sent")
        else:
            self._timely.good()

    def _positions(self, entries: Sequence[Entry], since_ms: int = 0) -> list[Position]:
        """Return those of entries that were added after `since_ms`."""
        positions = []
        for entry_id, entry in entries:
            try:
                positions.append(self._decoder.position(entry_id, entry, since_ms))
            except UnusableRecordError as error:
                self._flaws.note(error.flaw.value, entry_id, str(error))
        self._flaws.judge(len(entries))
        return positions

    async def _send(self) -> None:
        """Publish all that was read."""
        self._held_since = None
        await self._publish(self._backlog.take())

    async def _publish(self, positions: Sequence[Position]) -> None:
        for turn, position in enumerate(positions, 1):
            try:
                self._hub.publish(position)
            except Exception as error:  # noqa: BLE001 - a plugin behind a slot, whatever it is (G8)
                self._flaws.note(UNPUBLISHED, b"-", one_line(error))
            if turn % POSITIONS_PER_TURN == 0:
                await asyncio.sleep(0)
