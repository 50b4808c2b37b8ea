"""Who is behind gets, of what was missed, what nothing newer has replaced, in order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live.backlog import Backlog, Newest
from processor_live.framing import text_frame


def newest_of(*devices: str) -> Newest:
    """Return a topic's table after messages of these devices: `d1` as number 4 is `d1#4`."""
    newest = Newest()
    for number, device in enumerate(devices, 1):
        newest.add(device, message(device, number))
    return newest


def message(device: str, number: int) -> bytes:
    return f"{device}#{number}".encode()


def test_only_the_newest_message_of_each_device_is_left_in_the_order_published() -> None:
    newest = newest_of("d1", "d2", "d1", "d3", "d2")
    assert newest.published == 5
    assert newest.between(0, 5) == ["d1", "d3", "d2"]
    assert [newest.messages[device] for device in ("d1", "d3", "d2")] == [(3, b"d1#3"), (4, b"d3#4"), (5, b"d2#5")]


def test_what_was_seen_before_and_what_is_yet_to_be_sent_are_left_out() -> None:
    newest = newest_of("d1", "d2", "d3", "d4")
    assert newest.between(1, 3) == ["d2", "d3"]
    assert newest.between(4, 4) == []


def test_a_backlog_is_taken_as_far_as_there_is_room_and_then_the_rest() -> None:
    backlog = Backlog(newest_of("d1", "d2", "d1", "d3"), 0, 4)
    assert backlog.take(1) == ([text_frame(b"d2#2")], 1)
    empty = [backlog.empty]
    assert backlog.take(1_000) == ([text_frame(b"d1#3"), text_frame(b"d3#4")], 0)
    assert [*empty, backlog.empty] == [False, True]
    assert backlog.take(1_000) == ([], 0)


def test_a_message_replaced_by_one_that_is_yet_to_be_sent_counts_as_replaced() -> None:
    backlog = Backlog(newest_of("d1", "d1"), 0, 1)
    assert backlog.take(1_000) == ([], 1)
    assert backlog.empty


def test_devices_that_come_in_the_same_order_each_time_are_served_in_turn_each_with_its_newest() -> None:
    newest = newest_of()
    backlog = Backlog(newest, 0, 0)
    had = []
    for _ in range(5):
        for device in ("d1", "d2", "d3"):
            newest.add(device, message(device, newest.published + 1))
        backlog.last = newest.published
        had += backlog.take(1)[0]
    assert had == [text_frame(each) for each in (b"d1#1", b"d2#5", b"d3#9", b"d1#10", b"d2#14")]


_devices = st.sampled_from(["d1", "d2", "d3"])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(_devices, max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.lists(_devices, max_size=5)), max_size=10),
)
def test_whatever_is_taken_when_the_newest_of_every_device_arrives_and_none_twice_or_late(
    missed: list[str], steps: list[tuple[int, list[str]]]
) -> None:
    newest = newest_of(*missed)
    backlog = Backlog(newest, 0, newest.published)
    had: list[bytes] = []
    replaced = 0
    for room, more in [*steps, (10_000, [])]:
        backlog.last = newest.published
        for device in more:  # yet to be sent
            newest.add(device, message(device, newest.published + 1))
        frames, gone = backlog.take(room)
        had += frames
        replaced += gone
    assert backlog.empty
    assert len(had) + replaced == newest.published
    shown: dict[bytes, int] = {}
    for frame in had:
        name, _, number = frame[2:].partition(b"#")
        assert int(number) > shown.get(name, 0)
        shown[name] = int(number)
    assert shown == {device.encode(): newest.messages[device][0] for device in newest.between(0, newest.published)}
