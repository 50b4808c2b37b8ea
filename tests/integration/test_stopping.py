"""Whatever goes on and whatever hangs: a stop tells everybody, takes away what it can, and ends in time."""

import asyncio
import signal
from pathlib import Path

from redis.asyncio import Redis

from processor_live_demo.access import Access
from processor_live_demo.directus import silence
from tests.core.stranger import strangers
from tests.integration.departure import BOUND_SECONDS, HANGING_THREAD, PATIENT, UNFINISHED, see_it_hurry, serving
from tests.integration.leaving import SETTINGS, Crowd
from tests.integration.platform import Platform
from tests.integration.process import SERVE, Start, logged
from tests.own_postgres import OwnPostgres
from tests.own_redis import OwnRedis

WATCHING = 100
DRAIN_SECONDS = 2.3
"""So that a question that hangs is given up 0.3 s after a stop."""


async def test_under_load_everybody_is_told_and_has_the_answers_that_are_due(
    platform: Platform, start: Start, access: Access, redis: Redis, stream: str
) -> None:
    crowd = Crowd(platform, access, WATCHING)
    directus = platform.environ["DIRECTUS_BASE_URL"].replace("127.0.0.1", "localhost")  # to be looked up, in a thread
    process = await start(*SERVE, **SETTINGS, DIRECTUS_BASE_URL=directus)
    await crowd.see_a_stop(await serving(process, platform.session))
    assert await redis.xinfo_groups(stream) == []
    assert await redis.keys(f"*{stream}*") == [stream]


async def test_it_stops_in_time_whatever_hangs(
    platform: Platform, start: Start, access: Access, own_servers: dict[str, str], own_redis: OwnRedis,
    own_postgres: OwnPostgres, cookie: str, topic: str, tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "hanging.py").write_text(HANGING_THREAD, encoding="utf-8")
    settings = {
        "LIVE_PLUGINS": "auth,authorization,routing,snapshot,fanout,hanging:setup",
        "LIVE_WS_DRAIN_TIMEOUT_MS": f"{DRAIN_SECONDS * 1000:.0f}",
        "PYTHONPATH": str(tmp_path),
    }
    service = await serving(await start(*SERVE, **own_servers, **settings), platform.session)
    viewer = await platform.viewer(service.url, cookie)
    await viewer.snapshot(topic)
    async with strangers(service.port) as (at_the_door,), strangers(service.health_ports[0]) as (at_the_metrics,):
        for stranger in (at_the_door, at_the_metrics):
            await stranger.send(UNFINISHED)
            assert (await stranger.read()).startswith(b"HTTP/1.1 40")
        with own_redis.frozen(), own_postgres.frozen():
            access.overrides = {"users": silence(), "events": silence()}
            await viewer.socket.send_json({"type": "subscribe", "topic": topic})
            await service.until("live_directus_waiting", 1)
            service.process.send_signal(signal.SIGTERM)
            ending = asyncio.create_task(service.end(DRAIN_SECONDS + BOUND_SECONDS))
            assert (await viewer.answer())["code"] == "error"
            assert await viewer.close_code() == 1012
            log = await ending
    assert log.count("group.left_behind group=") == 1
    assert log.count("thread.left_behind thread=blocking_0") == 1


async def test_it_stops_in_time_while_it_waits_for_servers_to_answer_for_the_first_time(
    start: Start, own_servers: dict[str, str], own_redis: OwnRedis, own_postgres: OwnPostgres
) -> None:
    with own_redis.frozen(), own_postgres.frozen():
        process = await start(*SERVE, **own_servers)
        await logged(process, r"health\.listening")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BOUND_SECONDS):
            _, log = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in log
    assert b"left_behind" not in log


async def test_at_a_second_signal_nobody_is_waited_for_any_longer(
    platform: Platform, start: Start, access: Access, redis: Redis, stream: str, cookie: str, topic: str
) -> None:
    service = await serving(await start(*SERVE, **PATIENT), platform.session)
    viewer = await platform.viewer(service.url, cookie)
    access.overrides = {"events": silence()}
    await see_it_hurry(service, viewer, topic, signal.SIGTERM)
    assert await redis.xinfo_groups(stream) == []
