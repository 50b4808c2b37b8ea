"""Clocks may jump, and be wrong: the stream's, whose time is in the entries' ids, and this machine's."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.core.wire import metric
from tests.redis.rally import GOOD, Rally, rally_on, record
from tests.running import Diary, problem, running

HOUR_MS = 3_600_000
DEVICE = "1"


@pytest.fixture
def rally(redis_url: str, stream: str, connection: Redis, monkeypatch: pytest.MonkeyPatch) -> Rally:
    """The application with this plugin alone, which reads three entries at once and may be held up for a minute."""
    monkeypatch.setattr("processor_live_redis.fanout.CATCH_UP_MS", 60_000)
    return rally_on(redis_url, stream, connection, LIVE_BROADCAST_BATCH_SIZE="3")


def now_ms() -> int:
    """Return the present, by the devices' clocks."""
    return time.time_ns() // 1_000_000


async def report(rally: Rally, base: int, jumps: Sequence[int]) -> list[tuple[str, int]]:
    """Send as many positions of a device, all at once, to a stream whose clock is wrong by so many milliseconds."""
    pipeline: Any
    async with rally.redis.pipeline() as pipeline:
        for step, jump in enumerate(jumps):
            pipeline.xadd(rally.stream, {"payload": record(DEVICE, base + step)}, id=f"{base + step + jump}-*")
        await pipeline.execute()
    await rally.until(DEVICE, base + len(jumps) - 1)
    return [(DEVICE, base + step) for step in range(len(jumps))]


@pytest.mark.parametrize(
    "jumps",
    [
        [0] * 10 + [HOUR_MS] * 10,
        [HOUR_MS] * 20,
        [-HOUR_MS] * 20,
        [*range(0, -20, -1)],
    ],
    ids=["jumps ahead", "ahead", "behind", "set back"],
)
async def test_whatever_the_streams_clock_says_every_position_is_shown_and_nobody_catches_up(
    rally: Rally, diary: Diary, jumps: list[int]
) -> None:
    """A clock that is set back stands still in the ids until it is as late as it was."""
    skipped = metric("live_catch_up_skipped_total")
    unusable = metric("live_unusable_records_total", flaw="future")
    async with running(rally.app):
        await diary.line(GOOD)
        shown = await report(rally, now_ms(), jumps)
        assert problem(rally.app, "backlog") is None
    assert rally.published == shown
    assert metric("live_catch_up_skipped_total") == skipped
    assert metric("live_unusable_records_total", flaw="future") == unusable
    assert diary.count("check.failing") == 0


async def test_while_the_streams_clock_is_behind_a_device_whose_own_is_ahead_still_does_not_freeze(
    rally: Rally, diary: Diary
) -> None:
    async with running(rally.app):
        await diary.line(GOOD)
        ts = now_ms()
        await rally.add((DEVICE, ts + HOUR_MS), at=ts - HOUR_MS)
        await rally.add((DEVICE, ts), at=ts - HOUR_MS)
        await rally.until(DEVICE, ts)
    assert rally.published == [(DEVICE, ts)]


@pytest.mark.parametrize("jump_s", [3_600, -3_600])
async def test_when_this_machines_clock_jumps_every_position_is_shown(
    rally: Rally, diary: Diary, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    skipped = metric("live_catch_up_skipped_total")
    clock = time.time
    async with running(rally.app):
        await diary.line(GOOD)
        begin = now_ms()
        shown = await report(rally, begin, [0] * 10)
        with monkeypatch.context() as jumped:
            jumped.setattr(time, "time", lambda: clock() + jump_s)
            shown += await report(rally, begin + 10, [0] * 10)
        shown += await report(rally, begin + 20, [0] * 10)
    assert rally.published == shown
    assert metric("live_catch_up_skipped_total") == skipped
    assert diary.count("check.failing") == 0
