"""A failure that repeats itself is told once in a while, and every other one at once."""

import logging
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from processor_live import repetition
from processor_live.repetition import AGAIN_SECONDS, FailuresOnce


class Clock:
    """The monotonic clock, in the hands of a test."""

    def __init__(self) -> None:
        self.now = 7.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(repetition, "time", clock)
    return clock


def break_down() -> NoReturn:
    raise LookupError("for a viewer")


def break_down_elsewhere() -> NoReturn:
    raise LookupError("for a viewer")


def break_down_as(error: BaseException) -> NoReturn:
    raise error


def record_of(failing: Callable[[], NoReturn] | None, name: str = "signals") -> logging.LogRecord:
    """Return what is logged about a failure, or about none."""
    error = None
    if failing is not None:
        try:
            failing()
        except (LookupError, TimeoutError):
            error = sys.exc_info()
    return logging.LogRecord(name, logging.WARNING, __file__, 1, "signal.failed", None, error)


def test_a_failure_that_repeats_itself_is_told_once_in_a_while(clock: Clock) -> None:
    once = FailuresOnce()
    assert once.filter(record_of(break_down))
    clock.now += AGAIN_SECONDS - 1
    assert not any(once.filter(record_of(break_down)) for _ in range(1_000))
    clock.now += 1
    assert once.filter(record_of(break_down))
    assert not once.filter(record_of(break_down))


@pytest.mark.usefixtures("clock")
def test_another_error_in_the_same_place_one_elsewhere_and_one_of_somebody_else_is_news() -> None:
    once = FailuresOnce()
    assert once.filter(record_of(break_down))
    assert once.filter(record_of(break_down_elsewhere))
    assert once.filter(record_of(break_down, name="aiohttp.server"))
    assert once.filter(record_of(lambda: break_down_as(KeyError())))
    assert once.filter(record_of(lambda: break_down_as(TimeoutError())))


@pytest.mark.usefixtures("clock")
def test_what_has_no_traceback_is_always_told() -> None:
    once, never_raised = FailuresOnce(), record_of(None)
    never_raised.exc_info = (LookupError, LookupError(), None)
    nothing = record_of(None)
    nothing.exc_info = (None, None, None)
    assert all(once.filter(record_of(None)) for _ in range(3))
    assert all(once.filter(nothing) for _ in range(3))
    assert once.filter(never_raised)
