"""A stop is the same, whichever way to serve was chosen and whoever does not answer."""

import asyncio
import os
import signal
from contextlib import nullcontext

import pytest
from redis.asyncio import Redis

from processor_live_demo.access import Access
from processor_live_demo.directus import silence
from processor_live_demo.embedded import free_port
from tests.integration.departure import BOUND_SECONDS, PATIENT, see_it_hurry, serving
from tests.integration.leaving import SETTINGS, Crowd
from tests.integration.platform import Platform
from tests.integration.process import SERVE, Start, logged
from tests.own_postgres import OwnPostgres
from tests.own_redis import OwnRedis

WATCHING = 500
WORKERS = 2
DRAIN_SECONDS = 5
"""Unless set otherwise."""


@pytest.mark.parametrize("way", ["serve", "serve --workers", "aiohttp.web"])
async def test_under_load_every_way_to_serve_stops_in_the_same_way(
    platform: Platform, start: Start, access: Access, redis: Redis, stream: str, way: str
) -> None:
    crowd = Crowd(platform, access, WATCHING)
    if way == "aiohttp.web":
        port = free_port()
        args = ("-m", "aiohttp.web", "-H", "127.0.0.1", "-P", str(port), "processor_live.app:init")
        service = await serving(await start(*args, **SETTINGS), platform.session, port)
    elif way == "serve":
        service = await serving(await start(*SERVE, **SETTINGS), platform.session)
    else:
        process = await start(*SERVE, "--workers", str(WORKERS), **SETTINGS)
        service = await serving(process, platform.session, workers=WORKERS)
    await crowd.see_a_stop(service)
    assert await redis.xinfo_groups(stream) == []
    assert await redis.keys(f"*{stream}*") == [stream]


@pytest.mark.parametrize("fault", ["Redis is frozen", "Postgres is frozen", "Directus hangs"])
async def test_it_stops_in_time_though_one_that_it_depends_on_does_not_answer(
    platform: Platform, start: Start, access: Access, own_servers: dict[str, str], own_redis: OwnRedis,
    own_postgres: OwnPostgres, cookie: str, topic: str, fault: str,
) -> None:  # fmt: skip
    service = await serving(await start(*SERVE, **own_servers), platform.session)
    viewer = await platform.viewer(service.url, cookie)
    await viewer.snapshot(topic)
    with {"Redis": own_redis.frozen, "Postgres": own_postgres.frozen}.get(fault.split(maxsplit=1)[0], nullcontext)():
        if fault == "Directus hangs":
            access.overrides = {"users": silence(), "events": silence()}
        await viewer.socket.send_json({"type": "subscribe", "topic": topic})
        service.process.send_signal(signal.SIGTERM)
        ending = asyncio.create_task(service.end(DRAIN_SECONDS + BOUND_SECONDS))
        assert (await viewer.answer())["type"] == ("error" if fault == "Directus hangs" else "subscribed")
        assert await viewer.close_code() == 1012
        assert ("left_behind" in await ending) == (fault == "Redis is frozen")


async def test_it_stops_in_time_though_redis_is_gone(
    platform: Platform, start: Start, own_servers: dict[str, str], own_redis: OwnRedis, cookie: str
) -> None:
    service = await serving(await start(*SERVE, **own_servers), platform.session)
    viewer = await platform.viewer(service.url, cookie)
    own_redis.close()
    service.process.send_signal(signal.SIGTERM)
    assert await viewer.close_code() == 1012
    assert (await service.end(DRAIN_SECONDS + BOUND_SECONDS)).count("group.left_behind group=") == 1


@pytest.mark.parametrize(
    ("args", "again"),
    [((), signal.SIGINT), (("--workers", str(WORKERS)), signal.SIGTERM)],
    ids=["Ctrl-C", "workers"],
)
async def test_a_second_signal_may_be_a_ctrl_c_or_to_the_one_that_watches_over_workers(
    platform: Platform, start: Start, access: Access, redis: Redis, stream: str, cookie: str, topic: str,
    args: tuple[str, ...], again: signal.Signals,
) -> None:  # fmt: skip
    service = await serving(await start(*SERVE, *args, **PATIENT), platform.session, workers=WORKERS if args else 1)
    viewer = await platform.viewer(service.url, cookie)
    access.overrides = {"events": silence()}
    await see_it_hurry(service, viewer, topic, again)
    assert await redis.xinfo_groups(stream) == []


async def test_a_worker_that_does_not_stop_is_killed(start: Start) -> None:
    process = await start(*SERVE, "--workers", str(WORKERS), LIVE_WS_DRAIN_TIMEOUT_MS="0")
    pids = [int((await logged(process, r"worker\.started worker=\d pid=(\d+)"))[1]) for _ in range(WORKERS)]
    for _ in range(WORKERS):
        await logged(process, r"check\.good check=fanout")
    os.kill(pids[0], signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    _, log = await process.communicate()
    assert process.returncode == 1
    assert f"worker.killed pid={pids[0]}" in log.decode()
    assert "Traceback" not in log.decode()
