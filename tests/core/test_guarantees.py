"""The guarantees of docs/contract.md §5 hold whatever happens at the same time."""

import pytest

from tests.core.rally import tell_stories


@pytest.mark.timeout(600)  # a failure is made small before it is shown
def test_the_guarantees_hold_whatever_happens_at_the_same_time() -> None:
    tell_stories(50, steps=10, derandomize=True)
