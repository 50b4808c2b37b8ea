"""What must be true of whatever comes from outside? Each raises when it is not; fuzzers look for what makes them."""

import json
from collections.abc import Callable, Mapping

from processor_live.frame_reader import FrameReader, ViolationError
from processor_live.framing import position_entry
from processor_live.protocol import InvalidMessageError, Verdict, misunderstood, parse, unsubscribed
from processor_live_directus.auth import identity_in
from processor_live_directus.authorization import verdict_in
from processor_live_directus.client import NoAnswerError, _answer
from processor_live_redis.record import MAX_AHEAD_MS, Flaw, RecordDecoder, UnusableRecordError

ADDED_MS = 1_767_225_600_000
EVENT = "6d2f3c0e-8a43-4c58-9d2c-0f1a2b3c4d5e"
LIMIT = 4_096
STATUSES = (200, 401, 403, 404, 204, 302)

_decoders = RecordDecoder(include_attributes=False), RecordDecoder(include_attributes=True)


def record(payload: bytes) -> None:
    """A stream entry becomes a lawful position, or is refused with a reason; attributes are all that is left out."""
    outcomes: list[Flaw | None] = []
    for decoder in _decoders:
        try:
            position = decoder.position(f"{ADDED_MS}-0".encode(), [b"payload", payload])
        except UnusableRecordError as error:
            outcomes.append(error.flaw)
            continue
        entry = json.loads(position_entry(position).decode())
        assert set(entry) <= {"deviceId", "lat", "lon", "ts", "speed", "course", "attributes"}
        assert 1 <= len(entry["deviceId"]) <= 64
        assert -90 <= entry["lat"] <= 90
        assert -180 <= entry["lon"] <= 180
        assert 0 < entry["ts"] <= ADDED_MS + MAX_AHEAD_MS
        assert None not in entry.values()
        assert 0 < entry.get("speed", 1) <= 1000
        assert 0 < entry.get("course", 1) <= 360
        assert isinstance(entry.get("attributes", {}), dict)
        outcomes.append(None)
    assert outcomes[1] in {outcomes[0], Flaw.MALFORMED}, "attributes are all that is decoded in addition"


def message(text: str) -> None:
    """A client's message is a command, or has an answer of its own that says no more than it should."""
    try:
        command = parse(text)
    except InvalidMessageError as error:
        answer = json.loads(misunderstood(error))
        assert answer["code"] == "invalid-message"
        assert answer.keys() <= {"type", "code", "message", "topic", "id"}
        assert None not in answer.values()
        return
    said = json.loads(text)
    assert said == {"type": command.kind, "topic": command.topic} | ({"id": command.id} if "id" in said else {})
    answer = json.loads(unsubscribed(command))
    assert {**answer, "type": said["type"]} == said


def frames(data: bytes) -> None:
    """A client's bytes mean the same however they are cut, and no message is larger than it may be."""
    whole = _read([data])
    assert whole == _read([data[at : at + 1] for at in range(len(data))])
    for said in whole:
        assert not isinstance(said, str | bytes) or len(said) <= LIMIT


def _read(chunks: list[bytes]) -> list[object]:
    """Return what a reader says to the chunks, and in the end why the client must be closed, if it must be."""
    reader = FrameReader(LIMIT, inflates=True)
    heard: list[object] = []
    try:
        for chunk in chunks:
            for opcode, said in reader.feed(chunk):
                heard += [opcode, said]
    except ViolationError as error:
        heard.append(error.why)
    return heard


def answer(status: int, body: bytes) -> None:
    """An answer of Directus is a yes only when it clearly says so, and whatever else it is does no harm."""
    try:
        said = _answer(status, body)
    except NoAnswerError:
        return
    for read in (identity_in, lambda answer: verdict_in(EVENT, answer)):
        try:
            meaning = read(said)
        except NoAnswerError:
            continue
        if meaning not in {None, *Verdict} - {Verdict.ALLOW}:
            assert status == 200
            assert isinstance(json.loads(body)["data"]["id"], str)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "record": record,
    "message": lambda data: message(data.decode(errors="replace")),
    "frames": frames,
    "answer": lambda data: answer(STATUSES[data[0] % len(STATUSES)] if data else 200, data[1:]),
}
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "record": (
        b'{"device_id":"1","timestamp":"2026-01-01T00:00:00.000Z","latitude":41.32,"longitude":19.81,"altitude":110}',
        b'{"device_id":"1","timestamp":"2026-01-01T00:00:00Z","latitude":0,"longitude":0,"angle":142,"speed":87,"satellites":0}',
        b'{"device_id":"1","timestamp":"2026-01-01","latitude":1,"longitude":1,"attributes":{"66":{"__bigint":"1"}}}',
    ),
    "message": (
        b'{"type":"subscribe","topic":"event:6d2f3c0e-8a43-4c58-9d2c-0f1a2b3c4d5e","id":"7"}',
        b'{"type":"unsubscribe","topic":"event:6d2f3c0e-8a43-4c58-9d2c-0f1a2b3c4d5e"}',
    ),
    "frames": (
        b"\x81\x82\0\0\0\0{}",  # text
        b"\x01\x81\0\0\0\0{\x80\x81\0\0\0\0}",  # in fragments
        b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00",  # compressed
        b"\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8",  # a ping and a goodbye
        b"\x82\xfe\x00\x7e\1\2\3\4" + b"x" * 126,  # of a longer length
    ),
    "answer": (
        b"\0" + b'{"data":{"id":"6d2f3c0e-8a43-4c58-9d2c-0f1a2b3c4d5e"}}',
        b"\2" + b'{"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}]}',
    ),
}
