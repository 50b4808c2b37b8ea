"""The guarantees of docs/contract.md §5 hold in thousands of stories, other ones each time."""

import pytest

from tests.core.rally import tell_stories
from tests.core.turns import take_turns


@pytest.mark.timeout(7_200)
def test_the_guarantees_hold_for_a_long_time() -> None:
    tell_stories(2_500, steps=20)


@pytest.mark.timeout(7_200)
def test_the_guarantees_hold_in_many_orders_of_turns() -> None:
    take_turns(20_000)
