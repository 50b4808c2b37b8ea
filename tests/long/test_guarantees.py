"""The guarantees of docs/contract.md §5 hold in thousands of stories, other ones each time."""

import pytest

from tests.core.rally import tell_stories


@pytest.mark.timeout(7_200)
def test_the_guarantees_hold_for_a_long_time() -> None:
    tell_stories(5_000, steps=20)
