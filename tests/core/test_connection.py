"""A client that keeps up gets everything; one that lags keeps its control messages and only the newest positions."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live import connection as module
from processor_live.connection import MAX_CONTROL_BYTES, MAX_CONTROL_MESSAGES
from processor_live.framing import position_entry, position_message, position_prefix, text_frame
from processor_live.position import Position
from processor_live.protocol import Disconnect
from tests.core.wire import CLOSED, Client, metric, until

EVENT, OTHER = "event:1", "event:2"


def control(number: int) -> bytes:
    """Return a control message that can be recognized."""
    return json.dumps({"type": "error", "id": number}).encode()


def frame_of(topic: str, device: str, ts: int) -> bytes:
    """Return the frame of a position."""
    return text_frame(position_message(position_prefix(topic), position_entry(Position(device, 41.5, 19.5, ts))))


def lagging(threshold: int = 1024) -> Client:
    """Return a client that has stopped reading, with just more in flight than it may have."""
    client = Client(threshold=threshold)
    client.transport.stall()
    client.connection.send(b"x" * threshold)
    client.deliver(EVENT)
    assert client.connection.lagging
    return client


def caught_up(client: Client) -> Client:
    """Let the client read all that was in flight, and then all that waits for it; forget the former."""
    size = len(client.transport.written)
    client.transport.read_all()
    while not client.connection.drain():
        pass
    fresh = Client()
    fresh.transport.write(client.transport.received[size:])
    return fresh


def test_what_is_sent_to_a_client_that_keeps_up_arrives_at_once_and_in_order() -> None:
    client = Client()
    client.connection.send(control(1))
    assert client.deliver(EVENT, ("d1", 1), ("d1", 2), ("d2", 1)) == 3
    client.connection.send(control(2))
    assert [message.get("id") for message in client.messages] == [1, None, None, None, 2]
    assert client.positions(EVENT) == [("d1", 1), ("d1", 2), ("d2", 1)]


def test_a_client_lags_when_more_than_the_threshold_is_unsent() -> None:
    client = Client(threshold=1024)
    client.transport.stall()
    client.transport.write(b"x" * 1024)
    client.connection.send(b"{}")
    lagging_at_the_threshold, written = client.connection.lagging, client.transport.written
    client.connection.send(b"{}")
    assert not lagging_at_the_threshold
    assert client.connection.lagging
    assert client.transport.written == written


def test_lagging_is_told_once_until_the_client_has_caught_up() -> None:
    client = lagging()
    client.connection.send(control(1))
    client.deliver(EVENT, ("d1", 1))
    assert client.lagged == [client.connection]
    caught_up(client)
    client.transport.stall()
    client.connection.send(b"x" * 1024)
    client.connection.send(control(2))
    assert client.lagged == [client.connection] * 2


def test_a_lagging_client_gets_only_the_newest_position_of_each_device_and_topic() -> None:
    client = lagging()
    conflated, delivered = metric("live_conflated_total"), metric("live_deliveries_total")
    for ts in range(1, 51):
        assert client.deliver(EVENT, ("d1", ts), ("d2", ts)) == 0
        assert client.deliver(OTHER, ("d1", ts), ("d1", ts + 100)) == 0
    rest = caught_up(client)
    assert rest.positions(EVENT) == [("d1", 50), ("d2", 50)]
    assert rest.positions(OTHER) == [("d1", 150)]
    assert metric("live_conflated_total") - conflated == 200 - 3
    assert metric("live_deliveries_total") - delivered == 3


def test_control_messages_of_a_lagging_client_are_all_kept_in_order_and_go_first() -> None:
    client = lagging()
    client.deliver(EVENT, ("d1", 1))
    for number in range(MAX_CONTROL_MESSAGES):
        client.connection.send(control(number))
    rest = caught_up(client)
    assert [message.get("id") for message in rest.messages] == [*range(MAX_CONTROL_MESSAGES), None]
    assert client.connection.closing is None


def test_a_client_that_has_caught_up_is_written_to_directly_again() -> None:
    client = lagging()
    client.deliver(EVENT, ("d1", 1))
    caught_up(client)
    assert not client.connection.lagging
    assert client.deliver(EVENT, ("d1", 2)) == 1


def test_nothing_is_handed_out_before_half_the_threshold_is_free() -> None:
    client = lagging()
    client.connection.send(control(1))
    in_flight = len(client.transport.written)
    client.transport.read(in_flight - 513)
    assert not client.connection.drain()
    assert len(client.transport.written) == in_flight
    client.transport.read(1)
    assert client.connection.drain()
    assert len(client.transport.written) > in_flight


def test_what_waits_is_handed_out_in_portions_of_the_threshold() -> None:
    client = lagging()
    client.deliver(EVENT, *[(f"device-{number:04}", 1) for number in range(100)])
    longest = 110
    portions = 0
    while True:
        client.transport.read(client.transport.get_write_buffer_size())
        if client.connection.drain():
            break
        portions += 1
        assert 1024 <= client.transport.get_write_buffer_size() < 1024 + longest
    assert portions >= 8


def test_who_cannot_follow_one_topic_is_served_the_other_all_the_same() -> None:
    client = Client(threshold=1024)
    client.transport.stall()
    devices = [f"d{number}" for number in range(100)]
    client.deliver(EVENT, *[(device, 0) for device in devices])
    for ts in range(1, 21):
        client.deliver(EVENT, *[(device, ts) for device in devices])
        client.deliver(OTHER, ("d1", ts))
        client.transport.read(client.transport.get_write_buffer_size())
        assert not client.connection.drain()
    client.transport.read_all()
    assert [ts for _, ts in client.positions(OTHER)] == [*range(2, 21, 2)], "every other time it comes first"
    served = [device for device, _ in client.positions(EVENT)]
    assert served[:200] == 2 * devices, "the first flush, and what was missed since, each in its turn"


def test_the_positions_of_a_topic_that_was_left_are_forgotten_those_of_others_are_not() -> None:
    client = lagging()
    client.deliver(EVENT, ("d1", 1))
    client.deliver(OTHER, ("d1", 2))
    client.connection.forget(EVENT)
    rest = caught_up(client)
    assert rest.positions(EVENT) == []
    assert rest.positions(OTHER) == [("d1", 2)]


def test_acknowledged_bytes_grow_only_as_the_client_reads() -> None:
    client = lagging()
    for ts in range(3):
        client.deliver(EVENT, ("d1", ts))
    before = client.connection.acknowledged_bytes
    client.connection.send(control(1))
    assert not client.connection.drain()
    assert client.connection.acknowledged_bytes == before
    client.transport.read(700)
    assert client.connection.acknowledged_bytes == before + 700
    assert client.connection.drain()
    assert client.connection.acknowledged_bytes == before + 700, "handing out is not reading"


async def test_closing_sends_code_and_reason() -> None:
    client = Client()
    client.connection.close(Disconnect.RESTART)
    assert await client.goodbye() == 1012
    assert client.frames[-1].payload[2:] == b"the server restarts"


async def test_the_first_reason_to_close_is_the_one_that_is_said() -> None:
    client = Client()
    client.connection.close(Disconnect.VIOLATIONS)
    client.connection.close(Disconnect.RESTART)
    assert await client.goodbye() == 1008


async def test_a_goodbye_comes_after_the_control_messages_that_wait_and_without_the_positions() -> None:
    client = lagging()
    client.connection.send(control(1))
    client.deliver(EVENT, ("d1", 1))
    client.connection.send(control(2))
    in_flight = len(client.transport.written)
    client.connection.close(Disconnect.SLOW)
    assert await client.goodbye() == 1013
    rest = Client()
    rest.transport.write(client.transport.received[in_flight:])
    assert [message["id"] for message in rest.messages] == [1, 2]
    assert rest.close_code == 1013


async def test_nothing_is_sent_after_the_close_frame() -> None:
    client = lagging()
    client.deliver(EVENT, ("d1", 1))
    client.connection.close(Disconnect.RESTART)
    assert await client.goodbye() == 1012
    assert not client.connection.open
    client.connection.send(control(1))
    assert client.deliver(EVENT, ("d1", 2)) == 0
    assert client.connection.drain()
    assert client.close_code == 1012, "the close frame is the last"


@pytest.mark.parametrize(
    ("messages", "size"), [(MAX_CONTROL_MESSAGES, 10), (8, MAX_CONTROL_BYTES // 8 - 10)], ids=["messages", "bytes"]
)
async def test_a_control_backlog_over_its_bound_ends_the_connection(messages: int, size: int) -> None:
    client = lagging()
    for _ in range(messages):
        client.connection.send(b"x" * size)
    goodbye_within_the_bound = client.connection.closing
    client.connection.send(b"x" * 100)
    assert goodbye_within_the_bound is None
    assert await client.goodbye() == 1013


@pytest.mark.parametrize("answers", [True, False])
async def test_a_client_that_does_not_read_up_to_the_close_frame_is_cut(
    monkeypatch: pytest.MonkeyPatch,
    answers: bool,  # noqa: FBT001 - a case
) -> None:
    monkeypatch.setattr(module, "GOODBYE_SECONDS", 0.01)
    client = lagging()
    client.connection.close(Disconnect.SLOW)
    goodbye = asyncio.create_task(client.connection.say_goodbye())
    await until(lambda: not client.socket.open)
    if answers:
        client.socket.data_received(CLOSED)
    await goodbye
    assert client.transport.aborted


async def test_a_goodbye_that_is_cancelled_cuts_the_connection() -> None:
    client = lagging()
    client.connection.close(Disconnect.RESTART)
    goodbye = asyncio.create_task(client.connection.say_goodbye())
    await until(lambda: not client.socket.open)
    goodbye.cancel()
    await asyncio.wait([goodbye])
    assert client.transport.aborted


def test_a_connection_is_cut_only_while_something_is_on_its_way() -> None:
    cut = []
    for stalls in (False, True):
        client = Client()
        if stalls:
            client.transport.stall()
        client.connection.send(control(1))
        client.connection.cut()
        assert client.transport.is_closing()
        cut.append(client.transport.aborted)
    assert cut == [False, True]


_steps = st.one_of(
    st.just("send"),
    st.lists(st.tuples(st.sampled_from([EVENT, OTHER]), st.sampled_from(["d1", "d2", "d3"])), min_size=1, max_size=4),
    st.integers(1, 400),
    st.just("drain"),
)


@given(st.lists(_steps, min_size=5, max_size=80))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_g4_and_g5_hold_however_a_client_reads(steps: list[str | int | list[tuple[str, str]]]) -> None:
    client, sent, newest = Client(threshold=120), 0, dict[tuple[str, str], int]()
    superseded = set[bytes]()
    client.transport.stall()
    for ts, step in enumerate(steps, 1):
        if isinstance(step, int):
            client.transport.read(step)
        elif step == "send":
            sent += 1
            client.connection.send(control(sent))
        elif step == "drain":
            in_process = client.transport.get_write_buffer_size()
            client.connection.drain()
            assert client.transport.get_write_buffer_size() <= max(in_process, 120 + 110), "a frame over the threshold"
        else:
            for topic, device in dict.fromkeys(step):
                old = frame_of(topic, device, newest.get((topic, device), 0))
                if old not in client.transport.written:
                    superseded.add(old)
                newest[topic, device] = ts
                client.deliver(topic, (device, ts))
    client.transport.read_all()
    while not client.connection.drain():
        pass
    assert [message["id"] for message in client.messages if message["type"] == "error"] == [*range(1, sent + 1)]
    for (topic, device), ts in newest.items():
        shown = [each for name, each in client.positions(topic) if name == device]
        assert shown == sorted(set(shown))
        assert shown[-1] == ts
    assert not {text_frame(frame.payload) for frame in client.frames} & superseded
