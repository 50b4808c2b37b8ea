"""Of what was read nothing is lost, and of a device nothing older is kept than need be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live_redis.backlog import Backlog
from tests.core.database import fix


def test_what_was_added_comes_back_in_order_once() -> None:
    backlog = Backlog()
    positions = [fix("d1", 2), fix("d2", 1), fix("d1", 1)]
    backlog.add(positions[:2])
    backlog.add(positions[2:])
    assert backlog.take() == positions
    assert backlog.take() == []


def test_of_one_time_the_first_is_kept() -> None:
    backlog, first = Backlog(), fix("d1", 1)
    backlog.add([first, fix("d1", 1)])
    assert backlog.keep_newest() == 1
    assert backlog.take()[0] is first


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=6), max_size=6))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_however_it_comes_the_newest_of_each_device_is_kept_and_the_rest_is_counted(
    batches: list[list[tuple[str, int]]],
) -> None:
    backlog = Backlog()
    dropped = 0
    for batch in batches:
        backlog.add(fix(device, ts) for device, ts in batch)
        dropped += backlog.keep_newest()
    everything = [position for batch in batches for position in batch]
    newest = {device: max(ts for other, ts in everything if other == device) for device, _ in everything}
    assert {position.device_id: position.ts for position in backlog.take()} == newest
    assert dropped == len(everything) - len(newest)


def test_what_came_after_the_newest_were_kept_comes_after_them() -> None:
    backlog = Backlog()
    backlog.add([fix("d1", 1), fix("d1", 2)])
    assert backlog.keep_newest() == 1
    backlog.add([fix("d1", 3)])
    assert [position.ts for position in backlog.take()] == [2, 3]
