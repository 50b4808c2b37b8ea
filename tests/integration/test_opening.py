"""Does whoever comes first find a warm instance, and is nobody kept waiting for one that cannot get warm?"""

import asyncio
import signal
import socket
from contextlib import closing

import psycopg2
import pytest
from redis.asyncio import Redis

from tests.integration.platform import Platform, now_ms
from tests.integration.process import SERVE, Start, logged
from tests.link import link_to
from tests.own_redis import OwnRedis
from tests.running import Diary
from tests.servers import Database

IMEIS = ["1", "2", "3", "4"]
STEPS = 100
SLOWLY = 250_000
"""Bytes a second: what the stream has of these devices takes half a second."""


@pytest.fixture
def redis_url(own_redis: OwnRedis) -> str:
    """Here the platform has a Redis of its own, to which the way is narrow."""
    return own_redis.url


async def test_who_comes_at_once_finds_all_that_the_stream_has_shown_though_nobody_has_stored_it(
    platform: Platform, own_redis: OwnRedis, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, *IMEIS)
    ts = now_ms()
    await platform.trackers.drive(IMEIS, ts, STEPS)
    async with link_to(own_redis.port) as link:
        link.bytes_per_second = SLOWLY
        platform.environ["REDIS_URL"] = f"redis://127.0.0.1:{link.port}/0"
        live = await platform.start_unready()
        viewer = await live.viewer(cookie)
        snapshot = await viewer.snapshot(topic)
        assert {imei: entry["ts"] for imei, entry in snapshot.items()} == dict.fromkeys(IMEIS, ts + STEPS - 1)


async def test_nobody_comes_before_it_is_known_who_follows_which_device(
    platform: Platform, diary: Diary, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    with closing(psycopg2.connect(database.url)) as somebody, somebody.cursor() as cursor:
        cursor.execute("LOCK TABLE entry_devices")
        starting = asyncio.create_task(platform.start_unready())
        await diary.line("check.good check=fanout")
        assert not starting.done()
    live = await starting
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    ts = now_ms()
    await platform.trackers.report("1", ts)
    assert (await viewer.position())["ts"] == ts
    assert "status=ready" in await diary.line("live.open")


async def test_a_stop_while_it_waits_to_get_warm_is_as_clean_as_any(
    platform: Platform, start: Start, redis: Redis, stream: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process = await start(*SERVE, POSTGRES_URL=f"postgresql://127.0.0.1:{port}/nobody")
        read: list[str] = []
        health_port = (await logged(process, r"health\.listening .* port=(\d+)", read))[1]
        await logged(process, r"check\.good check=fanout", read)
        for path, status in (("healthz", 200), ("readyz", 503)):
            async with platform.session.get(f"http://127.0.0.1:{health_port}/{path}") as response:
                assert response.status == status
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in log
    assert not [line for line in (*read, *log.decode().splitlines()) if "live.open" in line], "it stopped before"
    assert await redis.xinfo_groups(stream) == []
    assert await redis.keys(f"*{stream}*") == [stream]
