"""What is asked for at once comes in time, and is no less than that."""

import contextlib
from collections.abc import Iterator

import pytest

from processor_live_redis.portion import Portion
from tests.core.clock import Clock

PATIENCE_SECONDS = 6.0
BATCH = 500
ENOUGH = 20
"""Questions in which any batch becomes a single entry, or a single entry a batch."""


@pytest.fixture
def clock() -> Iterator[Clock]:
    with contextlib.closing(Clock()) as clock:
        yield clock


def asked(clock: Clock, portion: Portion, entry_seconds: float, *, batch: int = BATCH) -> list[int]:
    """Ask again and again on a line that takes so long for each entry; return for how many, minus them if in vain."""
    counts = []

    def ask() -> None:
        count = portion.of(batch)
        seconds = count * entry_seconds
        counts.append(count if seconds <= PATIENCE_SECONDS else -count)
        with contextlib.suppress(TimeoutError), portion.awaited():
            clock.pass_time(min(seconds, PATIENCE_SECONDS))
            if seconds > PATIENCE_SECONDS:
                raise TimeoutError

    for _ in range(ENOUGH):
        clock.turn(ask)
    return counts


def test_on_a_line_too_slow_for_a_batch_it_becomes_smaller_until_it_comes_and_stays_as_it_is(clock: Clock) -> None:
    assert asked(clock, Portion(), 20 / BATCH) == [-500, -250, *[125] * (ENOUGH - 2)]


def test_the_largest_batch_becomes_a_single_entry_on_the_slowest_line_and_none_less(clock: Clock) -> None:
    portion = Portion()
    assert asked(clock, portion, PATIENCE_SECONDS, batch=10_000)[-1] == 1
    assert asked(clock, portion, 2 * PATIENCE_SECONDS)[-1] == -1


def test_on_a_line_that_is_fast_again_the_next_is_twice_as_large_until_it_is_whole(clock: Clock) -> None:
    portion = Portion()
    assert asked(clock, portion, PATIENCE_SECONDS / 40)[-1] == 31
    assert asked(clock, portion, 0.001) == [31, 62, 125, 250, *[500] * (ENOUGH - 4)]


@pytest.mark.parametrize("batch_seconds", [7, 10, 15, 30, 100])
def test_what_becomes_larger_again_comes_in_time(clock: Clock, batch_seconds: float) -> None:
    portion = Portion()
    assert asked(clock, portion, PATIENCE_SECONDS)[-1] == 1
    assert all(count > 0 for count in asked(clock, portion, batch_seconds / BATCH))
