"""What the trackers say reaches the hub in order, at once, and through bad records and backlogs."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from processor_live.hub import HUB
from processor_live_redis.fanout import WARM_MS
from processor_live_redis.group import Group
from tests.core.wire import metric
from tests.own_redis import OwnRedis
from tests.redis.rally import GOOD, Rally, rally_on, record
from tests.running import Diary, problem, running


async def test_what_comes_is_published_in_order_and_the_check_is_good(rally: Rally, diary: Diary) -> None:
    assert problem(rally.app, "fanout") == "the stream has not been read yet"
    before = metric("live_records_total")
    async with running(rally.app):
        await diary.line("group.created")
        await rally.add(("1", 10_000), ("2", 10_001))
        await rally.until("2", 10_001)
        await rally.add(("1", 10_002))
        await rally.until("1", 10_002)
        assert rally.published == [("1", 10_000), ("2", 10_001), ("1", 10_002)]
        assert metric("live_records_total") - before == 3
        assert metric("live_stream_last_entry_timestamp_seconds") == pytest.approx(10.002)
        await diary.line(GOOD)
        assert problem(rally.app, "fanout") is None
    assert await rally.redis.keys(f"{rally.stream}*") == [rally.stream.encode()], "its group is gone with it"


async def test_at_start_the_tail_of_the_stream_fills_the_latest_table(rally: Rally, diary: Diary) -> None:
    newest = 10 * WARM_MS
    await rally.add(("old", newest - WARM_MS - 1), ("1", newest - WARM_MS), ("1", newest - 2_000), ("2", newest - 1))
    await rally.add(("1", newest - 3_000), at=newest)
    async with running(rally.app):
        assert "devices=2" in await diary.line("stream.warmed")
        assert sorted(rally.published) == [("1", newest - 2_000), ("2", newest - 1)]
        assert rally.app[HUB].latest.get("old") is None


async def test_what_comes_while_the_tail_is_read_is_read_after_it(rally: Rally, diary: Diary) -> None:
    await rally.add(*[("1", 100_000 + ms) for ms in range(1_000)])
    async with running(rally.app), asyncio.TaskGroup() as group:
        group.create_task(rally.add(*[("2", 200_000 + ms) for ms in range(50)]))
        await rally.until("2", 200_049)
        await diary.line("stream.warmed")
    assert ("1", 100_999) in rally.published


UNUSABLE = {
    "no-payload": None,
    "malformed": '{"device_id": "q8zz7secret"',
    "too-large": '"q8zz7secret' + "x" * 70_000,
    "future": record("q8zz7secret", 4_102_444_800_000),
    "no-fix": record("q8zz7secret", 10_000, latitude=0, longitude=0, satellites=0),
    "unpublished": record("poison", 10_000),
}


async def test_bad_records_are_counted_logged_once_per_flaw_without_content_and_stop_nothing(
    rally: Rally, diary: Diary
) -> None:
    before = {flaw: metric("live_unusable_records_total", flaw=flaw) for flaw in UNUSABLE}
    async with running(rally.app):
        await diary.line("group.created")
        for turn in range(3):
            for flaw, payload in UNUSABLE.items():
                # of a device that could not be shown every record is news
                fresh = record("poison", 10_000 + turn) if flaw == "unpublished" else payload
                entry: Any = {"device_id": "q8zz7secret"} if fresh is None else {"payload": fresh}
                await rally.redis.xadd(rally.stream, entry, id="10000-*")
        await rally.add(("1", 10_000))
        await rally.until("1", 10_000)
    for flaw, count in before.items():
        assert metric("live_unusable_records_total", flaw=flaw) - count == 3, flaw
        assert diary.count(f"flaw={flaw} ") == 1, flaw
    assert rally.published == [("1", 10_000)]
    assert diary.count("q8zz7secret") == 0


async def test_of_a_backlog_of_more_than_two_seconds_only_the_newest_of_each_device_is_published(
    rally: Rally, diary: Diary
) -> None:
    before = metric("live_catch_up_skipped_total")
    async with running(rally.app):
        await diary.line("group.created")
        await rally.add(("1", 10_000), ("2", 10_001), ("1", 11_000), ("2", 11_001), ("3", 12_001))
        await rally.until("3", 12_001)
    assert sorted(rally.published) == [("1", 11_000), ("2", 11_001), ("3", 12_001)]
    assert metric("live_catch_up_skipped_total") - before == 2


async def test_of_a_backlog_of_two_seconds_everything_is_published(rally: Rally, diary: Diary) -> None:
    before = metric("live_catch_up_skipped_total")
    records = [("1", 10_000), ("2", 10_001), ("1", 11_000), ("2", 11_001), ("3", 12_000)]
    async with running(rally.app):
        await diary.line("group.created")
        await rally.add(*records)
        await rally.until("3", 12_000)
    assert rally.published == records
    assert metric("live_catch_up_skipped_total") - before == 0


async def test_of_a_backlog_of_many_batches_only_the_newest_of_each_device_is_published_once_it_is_read_through(
    redis_url: str, stream: str, connection: Redis, diary: Diary
) -> None:
    rally = rally_on(redis_url, stream, connection, LIVE_BROADCAST_BATCH_SIZE="10")
    devices = [str(number) for number in range(20)]
    before = metric("live_catch_up_skipped_total")
    async with running(rally.app):
        await diary.line("group.created")
        await rally.add(*[(device, 10_000 + 100 * step) for step in range(50) for device in devices])
        await rally.until("19", 14_900)
        assert "5 s behind the stream" in await diary.line("check.failing check=backlog")
        await diary.line("check.good check=backlog")
    newest = {device: max(ts for other, ts in rally.published if other == device) for device in devices}
    assert set(newest.values()) == {14_900}
    assert min(ts for _, ts in rally.published) == 12_800, "from two seconds behind on everything goes out again"
    assert metric("live_catch_up_skipped_total") - before == 1_000 - len(rally.published)


async def test_who_never_catches_up_still_shows_the_newest_now_and_then(
    redis_url: str, stream: str, connection: Redis, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor_live_redis.fanout.HOLD_SECONDS", 0.0)
    rally = rally_on(redis_url, stream, connection, LIVE_BROADCAST_BATCH_SIZE="10")
    async with running(rally.app):
        await diary.line("group.created")
        await rally.add(*[("1", 10_000 + 100 * step) for step in range(100)])
        await rally.until("1", 10_900)
        await rally.until("1", 11_900)
        await rally.until("1", 19_900)


async def test_what_was_read_before_redis_went_away_is_shown_all_the_same(
    own_redis: OwnRedis, own_client: Redis, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    rally = rally_on(own_redis.url, "stream", own_client, LIVE_BROADCAST_BATCH_SIZE="10")
    behind_ms = Group.behind_ms

    async def behind_a_dying_server(group: Group, far_ms: int) -> int:
        own_redis.close()
        return await behind_ms(group, far_ms)

    monkeypatch.setattr(Group, "behind_ms", behind_a_dying_server)
    async with running(rally.app):
        await diary.line("group.created")
        await rally.add(*[("1", 10_000 + ms) for ms in range(20)])
        await rally.until("1", 10_009)
    assert rally.published == [("1", 10_000 + ms) for ms in range(10)]


@pytest.mark.parametrize(
    ("behind_ms", "expected"),
    [(2_001, [("1", 12_001)]), (2_000, [*[("1", 10_000 + ms) for ms in range(10)], ("1", 12_000)])],
)
async def test_how_far_it_is_behind_is_told_by_the_newest_entry_of_the_stream(
    redis_url: str, stream: str, connection: Redis, diary: Diary, behind_ms: int, expected: list[tuple[str, int]]
) -> None:
    rally = rally_on(redis_url, stream, connection, LIVE_BROADCAST_BATCH_SIZE="10")
    async with running(rally.app):
        await diary.line("group.created")
        pipeline: Any
        async with connection.pipeline() as pipeline:
            for ms in range(10):
                pipeline.xadd(stream, {"payload": record("1", 10_000 + ms)}, id=f"10000-{ms}")
            pipeline.xadd(stream, {"payload": record("1", 10_000 + behind_ms)}, id=f"{10_000 + behind_ms}-0")
            await pipeline.execute()
        await rally.until("1", 10_000 + behind_ms)
    assert rally.published == expected


async def test_attributes_come_only_when_asked_for(redis_url: str, stream: str, connection: Redis) -> None:
    for asked in (True, False):
        rally = rally_on(redis_url, stream, connection, LIVE_INCLUDE_ATTRIBUTES=str(asked))
        await connection.delete(stream)
        await rally.add(("1", 10_000), attributes={"239": 1})
        async with running(rally.app):
            await rally.until("1", 10_000)
        position = rally.app[HUB].latest.get("1")
        assert position is not None
        assert (position.attributes is not None) is asked
