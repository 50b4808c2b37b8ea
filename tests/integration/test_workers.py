"""Several workers behind one port: each delivers everything, and one that dies comes back."""

import os
import re
import signal

import pytest
from redis.asyncio import Redis

from tests.integration.platform import Platform, now_ms
from tests.integration.process import SERVE, Start, first_viewer, logged
from tests.servers import Database

WORKERS = 2
IMPATIENT = (
    "from processor_live import lifeline; lifeline.SILENT_BEATS = 3; from processor_live.__main__ import main; main()"
)
"""Serves; who watches over the workers takes one for frozen after 3 s."""


async def test_every_worker_delivers_everything_and_sigterm_stops_them_all(
    platform: Platform, start: Start, database: Database, redis: Redis, stream: str, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    process = await start(*SERVE, "--workers", str(WORKERS), METRICS_PORT="0")
    port = (await logged(process, rf"live\.listening host=127\.0\.0\.1 port=(\d+) workers={WORKERS}"))[1]
    for _ in range(WORKERS):
        await logged(process, r"live\.open")
    assert len(await redis.xinfo_groups(stream)) == WORKERS
    # the kernel chooses a worker by the client's port: with so many, one without a viewer is one in 2 ** 15
    viewers = [await platform.viewer(f"ws://127.0.0.1:{port}/ws-live", cookie) for _ in range(16)]
    for viewer in viewers:
        await viewer.snapshot(topic)
    ts = now_ms()
    for step in range(20):
        await platform.trackers.report("1", ts + step)
    for viewer in viewers:
        await viewer.until("1", ts + 19)
        assert [position["ts"] - ts for position in viewer.positions] == list(range(20))
    process.send_signal(signal.SIGTERM)
    for viewer in viewers:
        assert await viewer.close_code() == 1012
    assert await process.wait() == 0
    assert await redis.xinfo_groups(stream) == []


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_worker_that_dies_or_freezes_is_started_again(
    platform: Platform, start: Start, database: Database, event: str, topic: str, cookie: str, fate: signal.Signals
) -> None:
    database.register(event, "1")
    process = await start("-c", IMPATIENT, "serve", "--workers", str(WORKERS))
    port = (await logged(process, r"live\.listening .* port=(\d+) workers"))[1]
    pids = [int((await logged(process, r"worker\.started worker=\d pid=(\d+)"))[1]) for _ in range(WORKERS)]
    for _ in range(WORKERS):
        await logged(process, r"live\.open")
    for pid in pids:
        os.kill(pid, fate)
    lines: list[str] = []
    for _ in range(WORKERS):
        await logged(process, r"worker\.died worker=\d status=-9 again_in_s=1\.0", lines)
    silent = re.findall(r"worker\.silent pid=(\d+)", "".join(lines))
    assert sorted(map(int, silent)) == (sorted(pids) if fate == signal.SIGSTOP else [])
    viewer = await first_viewer(platform, process, f"ws://127.0.0.1:{port}/ws-live", cookie)
    assert await viewer.snapshot(topic) == {}


async def test_all_workers_that_die_at_once_come_back_and_a_stop_before_that_is_clean(
    start: Start, redis: Redis, stream: str
) -> None:
    process = await start(*SERVE, "--workers", str(WORKERS))
    for again in (True, False):
        pids = [int((await logged(process, r"worker\.started worker=\d pid=(\d+)"))[1]) for _ in range(WORKERS)]
        for _ in range(WORKERS):
            await logged(process, r"check\.good check=fanout")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for _ in range(WORKERS):
            await logged(process, rf"worker\.died worker=\d status=-9 again_in_s={1.0 if again else 2.0}")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert len(await redis.xinfo_groups(stream)) == 2 * WORKERS, "for the next start to reap"


async def test_workers_end_with_the_process_that_watches_over_them(start: Start, redis: Redis, stream: str) -> None:
    process = await start(*SERVE, "--workers", str(WORKERS))
    for _ in range(WORKERS):
        await logged(process, r"check\.good check=fanout")
    process.kill()
    for _ in range(WORKERS):
        await logged(process, r"group\.destroyed")
    assert await redis.xinfo_groups(stream) == []


async def test_a_second_service_is_refused_with_the_line_of_a_busy_port(start: Start) -> None:
    """It would quietly be given half of the viewers."""
    first = await start(*SERVE, "--workers", str(WORKERS))
    port = (await logged(first, r"live\.listening .* port=(\d+) workers"))[1]
    second = await start(*SERVE, "--workers", str(WORKERS), LIVE_WS_PORT=port)
    _, log = await second.communicate()
    (line,) = log.decode().splitlines()
    assert line.startswith(f"processor-live: cannot listen on LIVE_WS_HOST '127.0.0.1', LIVE_WS_PORT {port}: Address")
    assert second.returncode == 1


@pytest.mark.parametrize("workers", ["0", "-1", "many"])
async def test_a_bad_number_of_workers_is_wrong_usage(start: Start, workers: str) -> None:
    process = await start(*SERVE, "--workers", workers)
    _, log = await process.communicate()
    assert process.returncode == 2
    assert f"{workers!r} is not a whole number of at least 1" in log.decode()


async def test_a_stop_while_the_workers_start_is_clean(start: Start) -> None:
    process = await start(*SERVE, "--workers", str(WORKERS))
    for _ in range(WORKERS):
        await logged(process, r"worker\.started")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
