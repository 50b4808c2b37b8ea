"""The recorder stores what the stream carries, acknowledges it, and is stopped by nothing but a signal."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 names its classes in lower case
from redis.asyncio import Redis

from processor_live_demo import ingestion
from processor_live_demo.child import Child
from processor_live_demo.embedded import postgres, valkey
from processor_live_demo.ingestion import send, transmit
from processor_live_demo.rally import Rally
from processor_live_demo.recorder import GROUP, Recorder
from processor_live_demo.roster import make_roster
from processor_live_demo.seed import create_schema, seed

STREAM = "telemetry:teltonika"
COUNT = "SELECT count(*) FROM positions"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    directory = tmp_path_factory.mktemp("servers")
    with valkey(directory) as redis_url, postgres(directory) as postgres_url:
        yield redis_url, postgres_url


@pytest.fixture
async def redis(servers: tuple[str, str]) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers[0]) as client:
        await client.flushall()
        yield client


@pytest.fixture
def empty(servers: tuple[str, str]) -> Iterator[Connection]:
    """Connect to a database without tables."""
    with closing(psycopg2.connect(servers[1])) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        yield connection


@pytest.fixture
def database(empty: Connection) -> Connection:
    create_schema(empty)
    return empty


def query(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


async def test_it_stores_each_position_once_and_acknowledges_all(redis: Redis, database: Connection) -> None:
    start = time.time() - 300
    records = Rally(make_roster(7), seed=7, start=start).tick(start + 300)
    await send(redis, STREAM, records)
    recorder = Recorder(redis, database, STREAM)
    await recorder.prepare()
    await recorder.prepare()
    await recorder.record()
    distinct = {(record.device_id, record.timestamp) for record in records}
    assert len(distinct) < len(records)
    assert recorder.stored == len(records)
    assert query(database, COUNT) == [(len(distinct),)]
    assert (await redis.xpending(STREAM, GROUP))["pending"] == 0
    payload = records[0].payload
    columns = "latitude, longitude, speed, satellites, codec, attributes, faulty"
    statement = f"SELECT {columns} FROM positions WHERE device_id = %s AND ts = %s"  # noqa: S608 - our own columns
    assert query(database, statement, records[0].device_id, records[0].timestamp) == [
        (
            *(payload[name] for name in ("latitude", "longitude", "speed", "satellites")),
            *(records[0].codec, payload["attributes"], False),
        )
    ]


async def test_it_takes_up_what_it_had_not_acknowledged(redis: Redis, database: Connection) -> None:
    recorder = Recorder(redis, database, STREAM)
    await recorder.prepare()
    start = time.time()
    rally = Rally(make_roster(7), seed=7, start=start)
    first = rally.tick(start + 1)
    await send(redis, STREAM, first)
    await redis.xreadgroup(GROUP, "recorder", {STREAM: ">"})
    await send(redis, STREAM, rally.tick(start + 2))
    await recorder.record()
    assert recorder.stored > len(first)
    assert (await redis.xpending(STREAM, GROUP))["pending"] == 0


async def test_what_cannot_be_stored_is_skipped_and_reported_once(
    redis: Redis, database: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.time()
    good = Rally(make_roster(7), seed=7, start=start).tick(start + 1)
    bad: list[dict[str, Any]] = [
        {**good[0].payload, "latitude": None},
        {**good[0].payload, "latitude": {"__bigint": "1"}},
        {**good[0].payload, "satellites": 70_000},
        {**good[0].payload, "device_id": "nul\0"},
        {**good[0].payload, "attributes": {"1": "nul\0"}},
        {**good[0].payload, "timestamp": "yesterday-ish"},
        {"device_id": "1"},
    ]
    texts = [*map(json.dumps, bad), "{", "[]"]
    for text in texts:
        await redis.xadd(STREAM, {"payload": text, "codec": "8"})
    await redis.xadd(STREAM, {"other": "1"})
    await send(redis, STREAM, good)
    recorder = Recorder(redis, database, STREAM)
    await recorder.prepare()
    await recorder.record()
    assert (recorder.stored, recorder.skipped) == (len(good), len(texts) + 1)
    assert (await redis.xpending(STREAM, GROUP))["pending"] == 0
    assert [record.getMessage()[:14] for record in caplog.records] == ["record.skipped"]


async def test_as_a_process_it_records_with_a_lag_and_stops_on_a_signal(
    servers: tuple[str, str], redis: Redis, database: Connection, tmp_path: Path
) -> None:
    environ = {**os.environ, "REDIS_URL": servers[0], "POSTGRES_URL": servers[1], "RECORDER_INTERVAL_MS": "100"}
    command = [sys.executable, "-m", "processor_live_demo.recorder"]
    with Child(name="recorder", command=command, log=tmp_path / "log", environ=environ) as child:
        child.wait_until(lambda: "recorder.started" in child.log_tail(), 10)
        rally = Rally(make_roster(7), seed=7, start=time.time())
        transmission = asyncio.create_task(transmit(rally, servers[0], STREAM))
        async with asyncio.timeout(10):
            while query(database, COUNT) == [(0,)]:  # noqa: ASYNC110 - no event tells of another process's commit
                await asyncio.sleep(0.05)
        transmission.cancel()
        assert child.stop() == 0
    assert "recorder.stopped" in child.log_tail()
    assert (await redis.xpending(STREAM, GROUP))["pending"] == 0


async def test_a_transmission_ends_whenever_it_is_cancelled(
    servers: tuple[str, str], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.time()
    rally = Rally(make_roster(7), seed=7, start=start)
    records = rally.tick(start + 1)
    monkeypatch.setattr(rally, "tick", lambda _: records)
    monkeypatch.setattr(ingestion, "TICK_S", 0)
    for attempt in range(100):
        transmission = asyncio.create_task(transmit(rally, servers[0], STREAM))
        await redis.xread({STREAM: "$"}, block=1000)
        await asyncio.sleep(attempt * 0.00002)  # not for something to happen, but to meet every step of it
        transmission.cancel()
        done, _ = await asyncio.wait([transmission], timeout=2)
        assert done


@pytest.mark.parametrize(
    ("environ", "status", "line"),
    [
        ({}, 2, "REDIS_URL is required"),
        ({"REDIS_URL": "redis://127.0.0.1:1", "POSTGRES_URL": "postgresql://127.0.0.1:1"}, 1, "recorder.failed"),
        ({"REDIS_URL": "-", "POSTGRES_URL": "-", "RECORDER_INTERVAL_MS": "soon"}, 2, "RECORDER_INTERVAL_MS must be"),
    ],
)
def test_it_says_why_it_cannot_run(tmp_path: Path, environ: dict[str, str], status: int, line: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "POSTGRES_URL"}}
    command = [sys.executable, "-m", "processor_live_demo.recorder"]
    with Child(name="recorder", command=command, log=tmp_path / "log", environ={**inherited, **environ}) as child:
        child.wait_until(lambda: child.status is not None, 10)
        assert child.stop(0) == status
    assert line in child.log_tail()
    assert "Traceback" not in child.log_tail()


def test_the_seed_is_a_history_with_a_faulty_newest_row(servers: tuple[str, str], empty: Connection) -> None:
    now = time.time()
    roster = make_roster(7)
    rally = Rally(roster, seed=7, start=now - 120)
    seed(servers[1], rally, now)
    newest = query(
        empty,
        "SELECT faulty, extract(epoch from ts) FROM positions WHERE device_id = %s ORDER BY ts DESC LIMIT 2",
        roster.faulty.imei,
    )
    assert [faulty for faulty, _ in newest] == [True, False]
    assert roster.faulty.imei not in {record.device_id for record in rally.tick(now + 30)}
    assert query(empty, "SELECT count(DISTINCT device_id) FROM positions") == [(40,)]
    assert query(empty, "SELECT max(ts) < to_timestamp(%s) FROM positions", now) == [(True,)]
    fields = query(
        empty,
        "SELECT count(*) FROM entry_devices JOIN entries ON entries.id = entry_id"
        " JOIN devices ON devices.id = entry_devices.device_id GROUP BY event_id ORDER BY 1",
    )
    assert fields == [(15,), (25,)]
