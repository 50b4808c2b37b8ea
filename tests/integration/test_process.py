"""Does the service start and stop as an operator expects, as a process of its own?"""

import signal
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from redis.asyncio import Redis

from processor_live_demo.embedded import free_port
from processor_live_demo.recorder import GROUP, Recorder
from tests.integration.platform import Platform, now_ms
from tests.integration.process import SERVE, Start, first_viewer, logged
from tests.servers import Database


@pytest.mark.parametrize("way", ["serve", "aiohttp.web"])
async def test_sigterm_says_goodbye_destroys_the_group_and_exits_0(
    platform: Platform, start: Start, database: Database, redis: Redis, stream: str, event: str, topic: str,
    cookie: str, way: str,
) -> None:  # fmt: skip
    database.register(event, "1")
    if way == "serve":
        process = await start(*SERVE)
        port = int((await logged(process, r"live\.listening host=127\.0\.0\.1 port=(\d+)"))[1])
    else:
        port = free_port()
        process = await start("-m", "aiohttp.web", "-H", "127.0.0.1", "-P", str(port), "processor_live.app:init")
    await logged(process, r"group\.created")
    viewer = await first_viewer(platform, process, f"ws://127.0.0.1:{port}/ws-live", cookie)
    await viewer.snapshot(topic)
    ts = now_ms()
    await platform.trackers.report("1", ts)
    await viewer.until("1", ts)
    assert len(await redis.xinfo_groups(stream)) == 1
    process.send_signal(signal.SIGTERM)
    assert await viewer.close_code() == 1012
    _, log = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in log
    assert cookie.encode() not in log
    assert await redis.xinfo_groups(stream) == []
    assert await redis.keys(f"*{stream}*") == [stream]


async def test_a_kill_costs_the_durable_writer_nothing(
    platform: Platform, start: Start, database: Database, redis_url: str, stream: str, event: str
) -> None:
    database.register(event, "1")
    process = await start(*SERVE)
    await logged(process, r"check\.good check=fanout")
    ts = now_ms()
    with closing(psycopg2.connect(database.url)) as connection:
        async with Redis.from_url(redis_url) as redis:
            recorder = Recorder(redis, connection, stream)
            await recorder.prepare()
            await platform.trackers.drive(["1"], ts, 50)
            await recorder.record()
            process.kill()
            await process.wait()
            await platform.trackers.drive(["1"], ts + 50, 50)
            await recorder.record()
            groups: Any = await redis.xinfo_groups(stream)
    (durable,) = [group for group in groups if group["name"] == GROUP.encode()]
    assert (durable["pending"], durable["lag"]) == (0, 0)
    assert database.execute("SELECT count(*), count(DISTINCT ts) FROM positions") == [(100, 100)]


async def test_ctrl_c_ends_it_as_quietly(platform: Platform, start: Start) -> None:
    process = await start(*SERVE)
    await logged(process, r"check\.good check=fanout")
    process.send_signal(signal.SIGINT)
    _, log = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in log
    assert platform.runners == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"REDIS_URL": "unset"}, "REDIS_URL is not set: it must be a URL redis://… or rediss://… or unix://…"),
        ({"POSTGRES_URL": "mysql://me:secret@db/x"}, "POSTGRES_URL is 'mysql://***@db/x': it must be a URL postgres"),
        ({"LIVE_WS_PORT": "70000"}, "LIVE_WS_PORT is '70000': it must be a whole number from 0 to 65535"),
        (
            {"LIVE_PLUGINS": "auth,teleport"},
            "there is no plugin 'teleport', named in LIVE_PLUGINS: installed are auth,",
        ),
        ({"LIVE_PLUGINS": "auth,auth"}, "LIVE_PLUGINS names 'auth' twice"),
    ],
)
@pytest.mark.parametrize("args", [SERVE, ("-m", "processor_live", "check")], ids=["serve", "check"])
async def test_a_bad_setting_stops_the_start_with_one_line(
    start: Start, args: tuple[str, ...], settings: dict[str, str], said: str
) -> None:
    process = await start(*args, **settings)
    _, log = await process.communicate()
    (line,) = log.decode().splitlines()
    assert line.startswith(f"processor-live: {said}")
    assert "secret" not in line
    assert process.returncode == 1


async def test_a_busy_port_stops_the_start_with_one_line(start: Start) -> None:
    first = await start(*SERVE)
    port = (await logged(first, r"live\.listening host=127\.0\.0\.1 port=(\d+)"))[1]
    _, log = await (await start(*SERVE, LIVE_WS_PORT=port)).communicate()
    (line,) = log.decode().splitlines()
    assert (
        line
        == f"processor-live: cannot listen on LIVE_WS_HOST '127.0.0.1', LIVE_WS_PORT {port}: Address already in use"
    )


async def test_a_busy_metrics_port_stops_the_start_with_one_line(start: Start) -> None:
    first = await start(*SERVE)
    port = (await logged(first, r"health\.listening host=127\.0\.0\.1 port=(\d+)"))[1]
    second = await start(*SERVE, METRICS_PORT=port)
    _, log = await second.communicate()
    assert second.returncode == 1
    assert (
        log.decode()
        .splitlines()[-1]
        .startswith("processor-live: cannot listen on METRICS_HOST '127.0.0.1', METRICS_PORT")
    )
    assert b"Traceback" not in log
