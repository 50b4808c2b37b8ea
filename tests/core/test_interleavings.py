"""The guarantees of docs/contract.md §5 hold in whatever order the turns of the event loop fall."""

import pytest

from tests.core.turns import take_turns


@pytest.mark.timeout(600)  # a failure is made small before it is shown
def test_the_guarantees_hold_in_whatever_order_the_turns_fall() -> None:
    take_turns(300, derandomize=True)
