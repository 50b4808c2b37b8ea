"""A position is news when it is newer, whatever way it came."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live.position import LatestTable, News, Row, epoch_ms, freshest, known
from tests.core.database import fix


def test_the_table_keeps_the_newest_of_each_device_and_says_what_each_was() -> None:
    table = LatestTable()
    offers = [("d1", 5), ("d1", 4), ("d1", 5), ("d2", 1), ("d1", 6)]
    assert [table.offer(fix(device, ts)) for device, ts in offers] == [
        *[News.NEWEST, News.LATE, News.DUPLICATE, News.NEWEST, News.NEWEST],
    ]
    assert {position.device_id: position.ts for position in table} == {"d1": 6, "d2": 1}
    assert len(table) == 2
    assert table.get("d1") == fix("d1", 6)
    assert table.get("d3") is None


def test_a_duplicate_does_not_replace_what_was_there() -> None:
    table, first = LatestTable(), fix("d1", 5)
    table.offer(first)
    table.offer(fix("d1", 5))
    assert table.get("d1") is first


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-3, 3)), max_size=30))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_whatever_the_order_the_newest_of_each_device_remains(offers: list[tuple[str, int]]) -> None:
    table = LatestTable()
    newest = [table.offer(fix(device, ts)) for device, ts in offers].count(News.NEWEST)
    assert {position.device_id: position.ts for position in table} == {
        device: max(ts for other, ts in offers if other == device) for device, _ in offers
    }
    assert newest >= len(table)


@pytest.mark.parametrize(
    ("stored", "newest_ts", "seen", "shown"),
    [
        (None, None, None, None),
        (3, 3, None, 3),
        (None, None, 3, 3),
        (3, 3, 4, 4),
        (3, 3, 3, 3),
        (3, 3, 2, 3),
        (3, 5, 4, 3),
        (3, 5, 5, 3),
        (3, 5, 6, 6),
        (None, 5, 5, None),
        (None, 5, 6, 6),
    ],
)
def test_the_stream_wins_only_over_all_that_the_store_has(
    stored: int | None, newest_ts: int | None, seen: int | None, shown: int | None
) -> None:
    row = Row("d1", None if stored is None else fix("d1", stored), newest_ts)
    position = freshest(row, None if seen is None else fix("d1", seen))
    assert (None if position is None else position.ts) == shown


@pytest.mark.parametrize(
    ("value", "kept"), [(None, None), (0, None), (-1, None), (0.5, 0.5), (360, 360), (360.5, None), (65_535, None)]
)
def test_a_value_is_known_when_it_is_over_zero_and_no_nonsense(value: float | None, kept: float | None) -> None:
    assert known(value, 360) == kept


@pytest.mark.parametrize(
    ("moment", "ms"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(2026, 1, 1, tzinfo=UTC), 1_767_225_600_000),
        (datetime(2026, 1, 1, 0, 0, 0, 123_999, tzinfo=UTC), 1_767_225_600_123),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 1_767_225_600_000),
        (datetime(2026, 1, 1), 1_767_225_600_000),  # noqa: DTZ001 - a database may answer without a zone
        (datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC), -1),
    ],
)
def test_a_moment_is_in_whole_epoch_milliseconds_rounded_down(moment: datetime, ms: int) -> None:
    assert epoch_ms(moment) == ms


@given(st.integers(0, 4_102_444_800_000), st.integers(0, 999), st.integers(-14 * 60, 14 * 60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_millisecond_is_lost_on_the_way_to_a_datetime_and_back(ts: int, microseconds: int, offset: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts, microseconds=microseconds)
    assert epoch_ms(moment) == ts
    assert epoch_ms(moment.astimezone(timezone(timedelta(minutes=offset)))) == ts
