"""A stream entry is a position or it is refused with a reason, whatever a tracker or a vandal has put into it."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor_live.framing import position_entry
from processor_live.position import Position
from processor_live_redis.record import MAX_PAYLOAD_BYTES, Flaw, RecordDecoder, UnusableRecordError, entry_ms
from tests.fuzz import properties

TS = 1_767_225_600_000
ENTRY_ID = f"{TS}-0".encode()
GOOD: dict[str, Any] = {
    "device_id": "352093080000001",
    "timestamp": "2026-01-01T00:00:00.000Z",
    "latitude": 41.32,
    "longitude": 19.81,
    "altitude": 110,
    "angle": 142,
    "speed": 87,
    "satellites": 9,
    "priority": 1,
    "attributes": {"239": 1},
}

plain = RecordDecoder(include_attributes=False)
full = RecordDecoder(include_attributes=True)


def decode(payload: object, decoder: RecordDecoder = plain) -> Position:
    """Decode an entry with this payload, JSON unless it is bytes, as Redis hands it out."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return decoder.position(ENTRY_ID, [b"ts", b"ignored", b"device_id", b"payload", b"payload", raw])


def refusal(payload: object, decoder: RecordDecoder = plain) -> UnusableRecordError:
    """Return why a payload is refused."""
    with pytest.raises(UnusableRecordError) as caught:
        decode(payload, decoder)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "a traceback would show the payload"
    return caught.value


def without(key: str) -> dict[str, Any]:
    """Return a good record that lacks a key."""
    return {name: value for name, value in GOOD.items() if name != key}


def on_the_wire(position: Position) -> dict[str, Any]:
    """Return what a client would be sent."""
    entry: dict[str, Any] = json.loads(position_entry(position).decode())
    return entry


def test_a_good_record_is_a_position() -> None:
    assert on_the_wire(decode(GOOD)) == {
        "deviceId": "352093080000001",
        "lat": 41.32,
        "lon": 19.81,
        "ts": TS,
        "speed": 87,
        "course": 142,
    }


def test_a_record_needs_no_more_than_device_time_and_place() -> None:
    needed = {key: GOOD[key] for key in ("device_id", "timestamp", "latitude", "longitude")}
    assert on_the_wire(decode(needed)) == {"deviceId": "352093080000001", "lat": 41.32, "lon": 19.81, "ts": TS}


def test_unknown_keys_do_no_harm() -> None:
    assert decode({**GOOD, "hdop": 0.9, "nested": {"device_id": 5}, "": None}) == decode(GOOD)


@pytest.mark.parametrize("key", ["device_id", "timestamp", "latitude", "longitude"])
def test_a_record_without_a_required_field_is_refused(key: str) -> None:
    assert refusal(without(key)).flaw is Flaw.MALFORMED


@pytest.mark.parametrize("key", ["device_id", "timestamp", "latitude", "longitude"])
@pytest.mark.parametrize("value", [None, True, [], {}, "", "x", "41.32", {"__bigint": "1"}])
def test_a_required_field_of_the_wrong_type_is_refused(key: str, value: object) -> None:
    if key == "device_id" and isinstance(value, str) and value:
        assert decode({**GOOD, key: value}).device_id == value
    else:
        assert refusal({**GOOD, key: value}).flaw is Flaw.MALFORMED


@pytest.mark.parametrize("key", ["speed", "angle", "satellites"])
@pytest.mark.parametrize("value", [True, [], {}, "", "87"])
def test_an_optional_field_of_the_wrong_type_is_refused(key: str, value: object) -> None:
    assert refusal({**GOOD, key: value}).flaw is Flaw.MALFORMED


@pytest.mark.parametrize("key", ["latitude", "longitude", "speed", "angle", "satellites"])
@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"nan", b"0x1", b"01", b"1."])
def test_what_is_no_finite_number_in_json_is_refused(key: str, number: bytes) -> None:
    payload = json.dumps({**GOOD, key: "?"}).encode().replace(b'"?"', number)
    assert refusal(payload).flaw is Flaw.MALFORMED


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("latitude", 90.000001),
        ("latitude", -90.000001),
        ("latitude", 413_200_000),
        ("longitude", 180.000001),
        ("longitude", -180.000001),
        ("longitude", 1e300),
    ],
)
def test_coordinates_out_of_range_are_refused(key: str, value: float) -> None:
    assert refusal({**GOOD, key: value}).flaw is Flaw.MALFORMED


@pytest.mark.parametrize(("latitude", "longitude"), [(90, 180), (-90, -180), (0, 19.8), (41.3, 0)])
def test_coordinates_at_the_edges_are_places(latitude: float, longitude: float) -> None:
    position = decode({**GOOD, "latitude": latitude, "longitude": longitude, "satellites": 0})
    assert (position.lat, position.lon) == (latitude, longitude)


def test_zero_zero_without_satellites_is_no_fix() -> None:
    assert refusal({**GOOD, "latitude": 0, "longitude": -0.0, "satellites": 0}).flaw is Flaw.NO_FIX


@pytest.mark.parametrize("satellites", [1, None])
def test_zero_zero_is_a_place_when_satellites_say_so_or_nothing_does(satellites: int | None) -> None:
    assert decode({**GOOD, "latitude": 0, "longitude": 0, "satellites": satellites}).lat == 0


@pytest.mark.parametrize(
    ("timestamp", "ts"),
    [
        ("2025-12-31T23:59:59.999Z", TS - 1),
        ("2025-12-31T23:59:59.999999Z", TS - 1),
        ("2026-01-01T02:00:00+02:00", TS),
        ("2025-12-31T19:30:00-04:30", TS),
        ("2026-01-01T00:00:00", TS),
        ("2026-01-01 00:00:00Z", TS),
        ("2026-01-01T00:01:00Z", TS + 60_000),
        ("1970-01-01T00:00:00.001Z", 1),
    ],
)
def test_a_time_is_in_epoch_milliseconds_rounded_down_and_utc_unless_it_says_otherwise(timestamp: str, ts: int) -> None:
    assert decode({**GOOD, "timestamp": timestamp}).ts == ts


@pytest.mark.parametrize("timestamp", ["2026-01-01T00:01:00.001Z", "2036-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"])
def test_a_record_dated_more_than_a_minute_after_its_entry_is_refused(timestamp: str) -> None:
    assert refusal({**GOOD, "timestamp": timestamp}).flaw is Flaw.FUTURE


@pytest.mark.parametrize(
    "timestamp",
    [
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "0001-01-01T00:00:00+23:59",
        "2026-02-30T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T23:59:60Z",
        "2026-01-01",
        "yesterday",
        "",
        "10000-01-01T00:00:00Z",
        "2026-01-01T00:00:00+99:99",
        TS,
        TS / 1000,
    ],
)
def test_an_absurd_time_is_refused(timestamp: object) -> None:
    assert refusal({**GOOD, "timestamp": timestamp}).flaw is Flaw.MALFORMED


@pytest.mark.parametrize("speed", [None, 0, 0.0, -1, -0.0, 1000.5, 65_535, 1e300])
def test_a_speed_that_is_zero_unknown_or_absurd_is_absent(speed: float | None) -> None:
    assert "speed" not in on_the_wire(decode({**GOOD, "speed": speed}))


@pytest.mark.parametrize("angle", [None, 0, -1, 360.5, 65_535])
def test_a_course_that_is_zero_unknown_or_absurd_is_absent(angle: float | None) -> None:
    assert "course" not in on_the_wire(decode({**GOOD, "angle": angle}))


def test_speed_and_course_keep_their_fractions_and_a_full_turn() -> None:
    position = decode({**GOOD, "speed": 0.5, "angle": 360})
    assert (position.speed, position.course) == (0.5, 360)


def test_a_device_id_is_text_of_1_to_64_characters() -> None:
    assert decode({**GOOD, "device_id": "é" * 64}).device_id == "é" * 64
    assert refusal({**GOOD, "device_id": "x" * 65}).flaw is Flaw.MALFORMED
    assert refusal({**GOOD, "device_id": "\ud800"}).flaw is Flaw.MALFORMED


def test_an_entry_without_payload_is_refused() -> None:
    with pytest.raises(UnusableRecordError) as caught:
        plain.position(ENTRY_ID, [b"device_id", b"payload"])
    assert caught.value.flaw is Flaw.NO_PAYLOAD


def test_a_payload_has_a_largest_size() -> None:
    good = json.dumps(GOOD).encode()
    assert decode(good + b" " * (MAX_PAYLOAD_BYTES - len(good))) == decode(GOOD)
    assert refusal(good + b" " * (MAX_PAYLOAD_BYTES - len(good) + 1)).flaw is Flaw.TOO_LARGE


@pytest.mark.parametrize("decoder", [plain, full])
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'"text"',
        b"17",
        b"{",
        b"[" * 60_000,
        b'{"x":' * 12_000,
        b'{"attributes":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
        json.dumps(GOOD).encode() + b"{}",
        json.dumps(GOOD).encode()[:-1],
        json.dumps(GOOD).encode().replace(b"352093080000001", b"35\xff"),
        json.dumps(GOOD).encode().replace(b'"', b"'"),
        json.dumps([GOOD]).encode(),
        json.dumps(GOOD).encode("utf-16"),
    ],
)
def test_what_is_no_record_in_json_is_refused(payload: bytes, decoder: RecordDecoder) -> None:
    assert refusal(payload, decoder).flaw is Flaw.MALFORMED


ATTRIBUTES: dict[str, Any] = {
    "239": 1,
    "66": {"__bigint": "18446744073709551615"},
    "10349": {"__buffer_b64": "AQID"},
    "__generation_type": 5,
    "text": "Durrës \U0001f3c1",
}


def test_attributes_are_passed_on_as_they_are_when_asked_for() -> None:
    assert on_the_wire(decode({**GOOD, "attributes": ATTRIBUTES}, full))["attributes"] == ATTRIBUTES


def test_attributes_are_left_out_unless_asked_for() -> None:
    assert "attributes" not in on_the_wire(decode({**GOOD, "attributes": ATTRIBUTES}))


@pytest.mark.parametrize("attributes", [None, [], "text", 17, True])
def test_attributes_that_are_no_object_are_left_out(attributes: object) -> None:
    assert "attributes" not in on_the_wire(decode({**GOOD, "attributes": attributes}, full))


def test_a_record_without_attributes_has_none() -> None:
    assert "attributes" not in on_the_wire(decode(without("attributes"), full))


@pytest.mark.parametrize("broken", [b'{"1":"\xff"}', b'{"\xc3(":1}', b'{"1":"\xed\xa0\x80"}'])
def test_attributes_that_are_no_utf_8_never_reach_a_client_who_would_have_to_hang_up(broken: bytes) -> None:
    """RFC 6455 §8.1: a client that gets such a text frame fails the connection."""
    payload = json.dumps({**GOOD, "attributes": "?"}).encode().replace(b'"?"', broken)
    assert refusal(payload, full).flaw is Flaw.MALFORMED


SECRET = "q8zz7secret"


@pytest.mark.parametrize("decoder", [plain, full])
@pytest.mark.parametrize("key", list(GOOD))
@pytest.mark.parametrize("value", [[SECRET], {SECRET: SECRET}, SECRET * 10, SECRET + "\ud800"])
def test_no_refusal_quotes_the_record(key: str, value: object, decoder: RecordDecoder) -> None:
    error = refusal({**GOOD, "longitude" if key == "latitude" else "latitude": 181, key: value}, decoder)
    assert SECRET not in repr(error)


_numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 41.3, 90, -180, 1e308]))
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)
_times = st.one_of(st.datetimes().map(lambda moment: moment.isoformat() + "Z"), st.text(max_size=30))
_records = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.one_of(st.just(value), _json) for key, value in GOOD.items()},
        "timestamp": st.one_of(st.just(GOOD["timestamp"]), _times, _json),
        "latitude": st.one_of(st.just(41.3), _numbers),
        "longitude": st.one_of(st.just(19.8), _numbers),
    },
)


@st.composite
def _mutilated(draw: st.DrawFn) -> bytes:
    """Return a good record with some of its bytes replaced."""
    payload = bytearray(json.dumps({**GOOD, "attributes": ATTRIBUTES}).encode())
    for place in draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[place] = draw(st.integers(0, 255))
    return bytes(payload)


@settings(deadline=None)  # a machine may be busy
@given(st.one_of(st.binary(), _json.map(lambda value: json.dumps(value).encode()), _mutilated(),
                 _records.map(lambda value: json.dumps(value).encode())))  # fmt: skip
@example(json.dumps({**GOOD, "device_id": "\x00"}).encode())
def test_whatever_an_entry_holds_it_becomes_a_lawful_position_or_is_refused(payload: bytes) -> None:
    properties.record(payload)


def test_the_time_of_an_entry_is_the_first_part_of_its_id() -> None:
    assert entry_ms(b"1767225600000-17") == TS
