"""How the stream gets into Postgres: plays the durable writer, in its own process and with its own lag."""

import asyncio
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from typing import Any, TypeAlias, cast

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 names its classes in lower case
from psycopg2.extras import Json, execute_values
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

GROUP = "processor"
CONSUMER = "recorder"
BATCH_SIZE = 5000
INSERT = """
    INSERT INTO positions (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec,
                           attributes)
    VALUES %s ON CONFLICT DO NOTHING
"""
# What one bad value raises: out of range, null, and a NUL character, which psycopg2 refuses by itself.
UNSTORABLE = (psycopg2.DataError, psycopg2.IntegrityError, ValueError)
log = logging.getLogger("recorder")

Fields: TypeAlias = Mapping[bytes, bytes]
Row: TypeAlias = tuple[object, ...]


def row_of(payload: Mapping[str, Any], codec: str) -> Row:
    """Return the row of a record's payload; raises KeyError, TypeError or ValueError when it is none."""
    texts = (str(payload[name]) for name in ("device_id", "timestamp"))
    numbers = (float(payload[name]) for name in ("latitude", "longitude", "altitude", "angle", "speed"))
    counts = (int(payload[name]) for name in ("satellites", "priority"))
    return (*texts, *numbers, *counts, codec, Json(payload["attributes"]))


def insert(connection: Connection, rows: Iterable[Row]) -> None:
    """Store rows, known ones excepted, in one transaction; raises psycopg2.Error, and then none is stored."""
    with connection, connection.cursor() as cursor:
        execute_values(cursor, INSERT, list(rows), page_size=1000)


class Recorder:
    """Reads the stream in the group of the durable writer and stores it; `stored` and `skipped` count the records."""

    def __init__(self, redis: Redis, connection: Connection, stream: str) -> None:
        self._redis = redis
        self._connection = connection
        self._stream = stream
        # First what an earlier run of ours was given and did not acknowledge, then what is new.
        self._position = "0"
        self.stored = 0
        self.skipped = 0

    async def prepare(self) -> None:
        """Create the group at the beginning of the stream, if need be; raises redis.RedisError."""
        try:
            await self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def record(self) -> None:
        """Store and acknowledge all there is to read; raises redis.RedisError and psycopg2.OperationalError."""
        while entries := await self._read():
            self._store([fields for _, fields in entries])
            await self._redis.xack(self._stream, GROUP, *(entry_id for entry_id, _ in entries))
            if len(entries) < BATCH_SIZE and self._position == ">":
                break

    async def _read(self) -> list[tuple[bytes, Fields]]:
        streams = await self._redis.xreadgroup(GROUP, CONSUMER, {self._stream: self._position}, count=BATCH_SIZE)
        # The client's type covers both protocol versions; ours is the default, a list of streams.
        replies = cast("list[tuple[bytes, list[tuple[bytes, Fields]]]]", streams)
        entries = list(itertools.chain.from_iterable(entries for _, entries in replies))
        if not entries and self._position == "0":
            self._position = ">"
            return await self._read()
        return entries

    def _store(self, batch: list[Fields]) -> None:
        rows = []
        for fields in batch:
            try:
                rows.append(row_of(json.loads(fields[b"payload"]), fields[b"codec"].decode()))
            except (ValueError, KeyError, TypeError) as error:
                self._skip(error)
        try:
            insert(self._connection, rows)
            self.stored += len(rows)
        except UNSTORABLE:
            # One bad value fails the whole statement: find it.
            for row in rows:
                try:
                    insert(self._connection, [row])
                    self.stored += 1
                except UNSTORABLE as error:
                    self._skip(error)

    def _skip(self, error: Exception) -> None:
        self.skipped += 1
        if self.skipped == 1:
            log.warning("record.skipped reason=%r (further ones are only counted)", f"{type(error).__name__}: {error}")


async def run(redis_url: str, postgres_url: str, stream: str, interval_s: float) -> None:
    """Record every `interval_s` seconds until SIGTERM or SIGINT, and once more then."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with closing(psycopg2.connect(postgres_url)) as connection:
        async with Redis.from_url(redis_url) as redis:
            recorder = Recorder(redis, connection, stream)
            await recorder.prepare()
            log.info("recorder.started stream=%s interval_s=%g", stream, interval_s)
            while not stopping.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(interval_s):
                        await stopping.wait()
                await recorder.record()
            log.info("recorder.stopped stored=%d skipped=%d", recorder.stored, recorder.skipped)


def main() -> int:
    """Run with the settings of the environment; return the exit status."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    try:
        redis_url, postgres_url = os.environ["REDIS_URL"], os.environ["POSTGRES_URL"]
        stream = os.environ.get("REDIS_TELEMETRY_STREAM", "telemetry:teltonika")
        interval_s = int(os.environ.get("RECORDER_INTERVAL_MS", "2000")) / 1000
    except KeyError as error:
        print(f"{error.args[0]} is required", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"RECORDER_INTERVAL_MS must be a number of milliseconds: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(run(redis_url, postgres_url, stream, interval_s))
    except (RedisError, psycopg2.Error) as error:
        log.error("recorder.failed reason=%r", str(error).strip())  # noqa: TRY400 - the traceback helps nobody here
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
