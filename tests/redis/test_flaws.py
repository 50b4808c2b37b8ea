"""A stream that makes no sense is told from one with an accident now and then."""

import pytest

from processor_live import Check
from processor_live_redis.flaws import SUSPICIOUS_SAMPLE, Flaws
from tests.core.wire import metric


@pytest.fixture
def check() -> Check:
    return Check("records", critical=False, problem=None)


@pytest.fixture
def flaws(check: Check) -> Flaws:
    return Flaws(check)


def noted(flaws: Flaws, flaw: str, times: int) -> None:
    """Note so many records of the same kind."""
    for _ in range(times):
        flaws.note(flaw, b"1-1", "some detail")


def test_every_unusable_record_is_counted_by_its_flaw(flaws: Flaws) -> None:
    before = metric("live_unusable_records_total", flaw="future")
    noted(flaws, "future", 3)
    assert metric("live_unusable_records_total", flaw="future") - before == 3


def test_when_most_records_are_unusable_the_check_names_the_flaw_until_most_are_good(
    flaws: Flaws, check: Check
) -> None:
    noted(flaws, "malformed", 10)
    noted(flaws, "future", 50)
    flaws.judge(SUSPICIOUS_SAMPLE)
    assert check.problem == "60% of the records cannot be used, most of them: future"
    noted(flaws, "future", 50)
    flaws.judge(SUSPICIOUS_SAMPLE)
    assert check.problem is None


def test_before_there_are_enough_nothing_is_judged(flaws: Flaws, check: Check) -> None:
    for _ in range(SUSPICIOUS_SAMPLE - 1):
        noted(flaws, "malformed", 1)
        flaws.judge(1)
    assert check.problem is None
    noted(flaws, "malformed", 1)
    flaws.judge(1)
    assert str(check.problem).startswith("100%")


def test_a_garage_full_of_trackers_is_no_fault(flaws: Flaws, check: Check) -> None:
    noted(flaws, "no-fix", SUSPICIOUS_SAMPLE)
    flaws.judge(SUSPICIOUS_SAMPLE)
    assert check.problem is None


def test_trackers_without_a_fix_do_not_hide_that_of_the_others_nothing_can_be_used(flaws: Flaws, check: Check) -> None:
    for _ in range(SUSPICIOUS_SAMPLE):
        noted(flaws, "no-fix", 3)
        noted(flaws, "malformed", 1)
        flaws.judge(4)
    assert check.problem == "100% of the records cannot be used, most of them: malformed"


def test_the_only_one_in_the_garage_that_is_wrong_is_no_fault(flaws: Flaws, check: Check) -> None:
    noted(flaws, "no-fix", SUSPICIOUS_SAMPLE)
    noted(flaws, "future", 1)
    flaws.judge(SUSPICIOUS_SAMPLE + 1)
    assert check.problem is None


def test_no_more_than_all_records_are_unusable_though_a_backlog_was_judged_before_it_could_not_be_published(
    flaws: Flaws, check: Check
) -> None:
    noted(flaws, "unpublished", 50 * SUSPICIOUS_SAMPLE)
    flaws.judge(SUSPICIOUS_SAMPLE)
    assert check.problem == "100% of the records cannot be used, most of them: unpublished"
