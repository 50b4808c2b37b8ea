"""Whatever goes on and whatever hangs: a stop tells everybody, takes away what it can, and ends in time."""

import asyncio
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from processor_live_demo.access import Access
from processor_live_demo.directus import silence
from tests.core.stranger import strangers
from tests.integration.departure import BOUND_SECONDS, SETTINGS, Crowd, directus, serving
from tests.integration.platform import Platform
from tests.integration.process import SERVE, Start, logged
from tests.own_postgres import OwnPostgres
from tests.own_redis import OwnRedis

PROMPT = {"LIVE_WS_DRAIN_TIMEOUT_MS": "2300"}
"""So that a question that hangs is given up 0.3 s after a stop."""
AT_ONCE_SECONDS = 3
"""Half a second, on an idle machine; the question alone would be waited for longer."""
PATIENT = {"LIVE_WS_DRAIN_TIMEOUT_MS": "60000", "DIRECTUS_AUTHZ_TIMEOUT_MS": "60000"}


async def test_under_load_everybody_is_told_and_has_the_answers_that_are_due(
    platform: Platform, start: Start, access: Access, redis: Redis, stream: str, cookie: str, topic: str
) -> None:
    flood = platform.database.add_event()
    platform.database.register(topic.partition(":")[2], "1")
    platform.database.register(flood, "2")
    access.overrides = {"users": directus, "events": directus}
    service = await serving(await start(*SERVE, **SETTINGS), platform.session)
    log = await Crowd(service, platform, cookie, topic, f"event:{flood}").see_a_stop()
    assert cookie not in log
    assert await redis.xinfo_groups(stream) == []
    assert await redis.keys(f"*{stream}*") == [stream]


async def test_it_stops_in_time_though_nobody_it_depends_on_answers(
    platform: Platform, start: Start, access: Access, own_servers: dict[str, str], own_redis: OwnRedis,
    own_postgres: OwnPostgres, cookie: str, topic: str,
) -> None:  # fmt: skip
    service = await serving(await start(*SERVE, **own_servers, **PROMPT), platform.session)
    viewer = await platform.viewer(service.url, cookie)
    assert (await viewer.ask("subscribe", topic))["type"] == "subscribed"
    with own_redis.frozen(), own_postgres.frozen():
        access.overrides = {"users": silence(), "events": silence()}
        await viewer.socket.send_json({"type": "subscribe", "topic": topic})
        await service.until("live_directus_waiting", 1)
        service.process.send_signal(signal.SIGTERM)
        ending = asyncio.create_task(service.end(2.3 + BOUND_SECONDS))
        assert (await viewer.answer())["code"] == "error"
        assert await viewer.close_code() == 1012
        log = await ending
    (line,) = [line for line in log.splitlines() if "left_behind" in line]
    assert "group.left_behind group=" in line


async def test_it_stops_in_time_though_redis_is_gone(
    platform: Platform, start: Start, own_servers: dict[str, str], own_redis: OwnRedis, cookie: str
) -> None:
    service = await serving(await start(*SERVE, **own_servers), platform.session)
    viewer = await platform.viewer(service.url, cookie)
    own_redis.close()
    service.process.send_signal(signal.SIGTERM)
    assert await viewer.close_code() == 1012
    assert (await service.end(BOUND_SECONDS)).count("group.left_behind group=") == 1


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


@pytest.mark.parametrize(
    ("args", "again"),
    [((), signal.SIGTERM), ((), signal.SIGINT), (("--workers", "2"), signal.SIGTERM)],
    ids=["SIGTERM", "SIGINT", "workers"],
)
async def test_at_a_second_signal_nobody_is_waited_for_any_longer(
    platform: Platform, start: Start, access: Access, redis: Redis, stream: str, cookie: str, topic: str,
    args: tuple[str, ...], again: signal.Signals,
) -> None:  # fmt: skip
    service = await serving(await start(*SERVE, *args, **PATIENT), platform.session, workers=2 if args else 1)
    viewer = await platform.viewer(service.url, cookie)
    access.overrides = {"events": silence()}
    await viewer.socket.send_json({"type": "subscribe", "topic": topic})
    await service.until("live_directus_waiting", 1)
    service.process.send_signal(signal.SIGTERM)
    await logged(service.process, r"drain\.started connections=1")
    service.process.send_signal(again)
    ending = asyncio.create_task(service.end(AT_ONCE_SECONDS))
    assert (await viewer.answer())["code"] == "error"
    assert await viewer.close_code() == 1012
    await ending
    assert await redis.xinfo_groups(stream) == []


async def test_strangers_who_never_finish_a_request_do_not_hold_up_a_stop(platform: Platform, start: Start) -> None:
    service = await serving(await start(*SERVE), platform.session)
    begun = b"POST / HTTP/1.1\r\nHost: live.rally.al\r\nContent-Length: 9\r\n\r\n"
    async with strangers(service.port, 2) as at_the_door, strangers(service.health_ports[0], 2) as at_the_metrics:
        for one, other in (at_the_door, at_the_metrics):
            await one.send(begun)
            assert (await one.read()).startswith(b"HTTP/1.1 40")
            await other.send(begun[:40])
        service.process.send_signal(signal.SIGTERM)
        await service.end(BOUND_SECONDS)


HANGING_THREAD = """
import asyncio, threading

lookups = []

def setup(app):
    async def look_up(_):
        lookups.append(asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 60))
    app.on_startup.append(look_up)
"""
"""A plugin that does what the system's resolver does when the server of names does not answer."""


async def test_a_name_that_is_still_being_looked_up_does_not_hold_up_a_stop(
    platform: Platform, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING_THREAD, encoding="utf-8")
    settings = {"LIVE_PLUGINS": "auth,authorization,routing,snapshot,fanout,hanging:setup", "PYTHONPATH": str(tmp_path)}
    service = await serving(await start(*SERVE, **settings), platform.session)
    service.process.send_signal(signal.SIGTERM)
    assert "thread.left_behind thread=blocking_0" in await service.end(BOUND_SECONDS)
