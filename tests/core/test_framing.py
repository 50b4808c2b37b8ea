"""The bytes are those of RFC 6455, and the JSON in them is the contract's."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live.framing import position_entry, position_message, position_prefix, text_frame
from processor_live.position import Position
from tests.core.wire import Frame, frames

HELLO = bytes((0x81, 0x05)) + b"Hello"
"""RFC 6455 §5.7: a single-frame unmasked text message."""


def test_a_frame_is_the_example_of_the_rfc() -> None:
    assert text_frame(b"Hello") == HELLO


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
    ],
)
def test_the_length_is_written_in_the_fewest_bytes(size: int, header: str) -> None:
    assert text_frame(b"x" * size) == bytes.fromhex(header) + b"x" * size


@given(st.lists(st.binary(max_size=300), max_size=5))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_frames_joined_into_one_write_are_read_as_they_were(payloads: list[bytes]) -> None:
    joined = b"".join(map(text_frame, payloads))
    assert frames(joined) == ([Frame(1, payload, compressed=False) for payload in payloads], b"")


def test_an_entry_has_what_is_known_in_the_order_of_the_contract() -> None:
    assert position_entry(Position("d1", 41.32, 19.81, 1_767_225_600_000, 87, 142)) == (
        b'{"deviceId":"d1","lat":41.32,"lon":19.81,"ts":1767225600000,"speed":87,"course":142}'
    )


def test_what_is_unknown_is_absent_never_null() -> None:
    assert position_entry(Position("d1", 0.0, -0.5, 0)) == b'{"deviceId":"d1","lat":0.0,"lon":-0.5,"ts":0}'


@pytest.mark.parametrize("attributes", [{"239": 1}, msgspec.Raw(b'{"239":1}')])
def test_attributes_are_sent_as_they_came(attributes: object) -> None:
    entry = position_entry(Position("d1", 1.5, 2.5, 3, attributes=attributes))
    assert json.loads(entry)["attributes"] == {"239": 1}


_finite = st.floats(-90, 90)
_positions = st.builds(
    Position, st.text(max_size=20), _finite, _finite, st.integers(0, 2**52), st.none() | _finite, st.none() | _finite
)


@given(st.text(max_size=50), _positions)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_position_message_is_its_entry_with_type_and_topic(topic: str, position: Position) -> None:
    entry = position_entry(position)
    assert json.loads(position_message(position_prefix(topic), entry)) == {
        "type": "position",
        "topic": topic,
        **json.loads(entry),
    }
    assert json.loads(entry)["ts"] == position.ts
