"""This machine's clock may jump by an hour and back: the service does not notice."""

import asyncio
import signal
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from aiohttp import WSMsgType
from redis.asyncio import Redis

from tests.integration.platform import Platform, Viewer, now_ms
from tests.integration.process import SERVE, Start, logged
from tests.running import until
from tests.servers import Database

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""Debian's package `faketime`."""
JUMPS_SECONDS = (3_600, -3_600)


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime")
async def test_when_the_clock_jumps_viewers_go_on_quiet_ones_are_pinged_and_a_stop_is_as_ever(
    platform: Platform, start: Start, database: Database, redis: Redis, stream: str, event: str, topic: str,
    cookie: str, tmp_path: Path,
) -> None:  # fmt: skip
    database.register(event, "1")
    clock = Clock(tmp_path / "clock")
    process = await start(*SERVE, **clock.environ, LIVE_WS_PING_INTERVAL_MS="1500")
    lines: list[str] = []
    port = (await logged(process, r"live\.listening host=\S+ port=(\d+)", lines))[1]
    await logged(process, r"check\.good check=fanout", lines)
    url = f"http://127.0.0.1:{port}/ws-live"
    viewer = await platform.viewer(url, cookie)
    await viewer.snapshot(topic)
    quiet = await platform.viewer(url, cookie, autoping=False)
    reading = asyncio.create_task(read(viewer))
    begin = now_ms()
    ts = begin - 1
    for jump_s in JUMPS_SECONDS:
        clock.jump(jump_s)
        for _ in range(5):
            ts += 1
            await platform.trackers.report("1", ts)
        await until(partial(has_seen, viewer, [*range(begin, ts + 1)]))
        newcomer = await platform.viewer(url, cookie)
        assert (await newcomer.snapshot(topic))["1"]["ts"] == ts
        await newcomer.socket.close()
    assert (await quiet.socket.receive()).type is WSMsgType.PING
    await quiet.socket.close()
    process.send_signal(signal.SIGTERM)
    stopped = await logged(process, r"^(\S+ \S+),\d+ .* drain\.started", lines)
    await reading
    assert viewer.socket.close_code == 1012
    _, rest = await process.communicate()
    assert process.returncode == 0
    assert await redis.xinfo_groups(stream) == []
    assert "check.failing" not in "".join(lines) + rest.decode()
    late = datetime.fromisoformat(stopped[1]) - datetime.now()  # noqa: DTZ005 - the log has local time, too
    assert late.total_seconds() == pytest.approx(JUMPS_SECONDS[-1], abs=60), "the clock did jump"


def has_seen(viewer: Viewer, expected: list[int]) -> bool:
    return [position["ts"] for position in viewer.positions] == expected


async def read(viewer: Viewer) -> None:
    """Take what comes, and answer pings, to the end."""
    with suppress(TypeError):  # aiohttp's for an end in the place of a text
        while True:
            await viewer.receive()


class Clock:
    """The time of day of a process that is started in `environ`; its other clocks go on, as the kernel's would."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.environ = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Let it be wrong by so much, from one moment to the next."""
        draft = self._path.with_suffix(".draft")
        draft.write_text(f"{seconds:+}\n", encoding="ascii")
        draft.rename(self._path)
