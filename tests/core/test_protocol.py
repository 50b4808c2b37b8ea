"""What clients may say is understood exactly, everything else is refused with a reason, and answers are as agreed."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live import protocol
from processor_live.protocol import EXPLANATIONS, Command, Disconnect, ErrorCode, InvalidMessageError, Kind, Verdict
from tests.fuzz import properties

EVENT = "event:6d2f3c0e-8a43-4c58-9d2c-0f1a2b3c4d5e"


def refused(message: str | bytes) -> InvalidMessageError:
    """Return why a message is none."""
    with pytest.raises(InvalidMessageError) as caught:
        protocol.parse(message)
    return caught.value


@pytest.mark.parametrize("kind", list(Kind))
def test_a_command_is_understood_with_and_without_an_id(kind: Kind) -> None:
    assert protocol.parse(json.dumps({"type": kind, "topic": EVENT})) == Command(kind, EVENT, None)
    assert protocol.parse(json.dumps({"type": kind, "topic": EVENT, "id": "7"})) == Command(kind, EVENT, "7")


def test_any_topic_is_understood_whether_it_exists_is_decided_elsewhere() -> None:
    assert protocol.parse('{"type": "subscribe", "topic": ""}').topic == ""


@pytest.mark.parametrize(
    "message",
    [
        b'{"type": "subscribe", "topic": "event:1"}',
        "",
        "subscribe",
        "[" * 4_000,
        "null",
        '["subscribe"]',
        '"subscribe"',
        "{}",
        '{"type": "subscribe"}',
        '{"topic": "event:1"}',
        '{"type": "publish", "topic": "event:1"}',
        '{"type": "Subscribe", "topic": "event:1"}',
        '{"type": null, "topic": "event:1"}',
        '{"type": ["subscribe"], "topic": "event:1"}',
        '{"type": "subscribe", "topic": null}',
        '{"type": "subscribe", "topic": 1}',
        '{"type": "subscribe", "topic": {"event": 1}}',
        '{"type": "subscribe", "topic": "event:1", "id": null}',
        '{"type": "subscribe", "topic": "event:1", "id": 7}',
        '{"type": "subscribe", "topic": "event:1", "token": "x"}',
        '{"type": "subscribe", "topic": "event:1"} {}',
        json.dumps({"type": "subscribe", "topic": "event:1", "id": "x" * 129}),
    ],
)
def test_everything_else_is_an_invalid_message(message: str | bytes) -> None:
    assert str(refused(message))


def test_an_id_may_have_128_characters_whatever_they_weigh() -> None:
    id_ = "ë" * 128
    assert protocol.parse(json.dumps({"type": "subscribe", "topic": EVENT, "id": id_})).id == id_


def test_the_reason_names_the_field_and_what_is_wrong_with_it() -> None:
    reason = str(refused(json.dumps({"type": "publish", "topic": 1, "token": "x"})))
    assert "type: Must be one of: subscribe, unsubscribe." in reason
    assert "topic: Not a valid string." in reason
    assert "token: Unknown field." in reason
    assert "\n" not in reason


def test_the_reason_repeats_little_of_a_long_field_name() -> None:
    assert len(str(refused(json.dumps({"type": "subscribe", "topic": EVENT, "x" * 4_000: 1})))) < 200


def test_topic_and_id_of_an_invalid_message_are_echoed_where_they_can_be_read() -> None:
    error = refused(json.dumps({"type": "publish", "topic": EVENT, "id": "7"}))
    answer = json.loads(protocol.misunderstood(error))
    assert answer == {"type": "error", "code": "invalid-message", "topic": EVENT, "id": "7", "message": str(error)}
    error = refused(json.dumps({"type": "publish", "topic": 1, "id": "x" * 129}))
    assert json.loads(protocol.misunderstood(error)).keys() == {"type", "code", "message"}
    assert json.loads(protocol.misunderstood(refused(b"\xff"))).keys() == {"type", "code", "message"}


def test_answers_are_exactly_what_the_contract_says() -> None:
    command = Command(Kind.SUBSCRIBE, EVENT, "7")
    entries = [b'{"deviceId":"d1","lat":1.5,"lon":2.5,"ts":3}', b'{"deviceId":"d2","lat":1.5,"lon":2.5,"ts":4}']
    assert (
        protocol.subscribed(command, entries)
        == (
            f'{{"type":"subscribed","topic":"{EVENT}","id":"7","snapshot":[' + b",".join(entries).decode() + "]}"
        ).encode()
    )
    assert json.loads(protocol.subscribed(command, [])) == {
        "type": "subscribed",
        "topic": EVENT,
        "id": "7",
        "snapshot": [],
    }
    assert json.loads(protocol.unsubscribed(command)) == {"type": "unsubscribed", "topic": EVENT, "id": "7"}
    refusal = json.loads(protocol.refused(command, ErrorCode.FORBIDDEN))
    explanation = "you may not follow this topic"
    assert refusal == {"type": "error", "code": "forbidden", "topic": EVENT, "id": "7", "message": explanation}


def test_an_absent_id_is_absent_in_the_answer_never_null() -> None:
    command = Command(Kind.SUBSCRIBE, EVENT, None)
    for answer in (
        protocol.subscribed(command, []),
        protocol.unsubscribed(command),
        protocol.refused(command, ErrorCode.UNDECIDED),
    ):
        assert "id" not in json.loads(answer)


def test_error_codes_are_those_of_the_contract_and_each_but_one_has_its_explanation() -> None:
    assert {code.value for code in ErrorCode} == {
        *{"invalid-message", "unknown-topic", "forbidden", "not-found", "session-ended", "error"},
        *{"too-many-subscriptions", "rate-limited"},
    }
    assert EXPLANATIONS.keys() == set(ErrorCode) - {ErrorCode.INVALID_MESSAGE}
    assert {verdict.value for verdict in Verdict} - {None} < set(ErrorCode)


def test_close_codes_are_those_of_the_contract() -> None:
    assert {why.name: why.code for why in Disconnect} == {
        "PROTOCOL_ERROR": 1002,
        "INVALID_DATA": 1007,
        "VIOLATIONS": 1008,
        "TOO_BIG": 1009,
        "FAILED": 1011,
        "RESTART": 1012,
        "SLOW": 1013,
        "SESSION_ENDED": 4401,
    }
    assert all(len(why.reason.encode()) <= 123 for why in Disconnect), "RFC 6455 §5.5: a control frame has 125 bytes"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_nearly = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["subscribe", "unsubscribe"]) | _json,
        "topic": st.text(max_size=60) | _json,
        "id": st.text(max_size=140) | _json,
        "more": _json,
    },
)


@given(st.text(max_size=50) | _nearly.map(json.dumps))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_message_is_a_command_or_has_an_answer_of_its_own(message: str) -> None:
    properties.message(message)


@given(st.text(alphabet=st.characters() | st.sampled_from(string.printable), max_size=20))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_whatever_characters_an_id_has_they_come_back_as_ascii(id_: str) -> None:
    answer = protocol.unsubscribed(protocol.parse(json.dumps({"type": "unsubscribe", "topic": EVENT, "id": id_})))
    assert answer.isascii()
    assert json.loads(answer)["id"] == id_


def test_a_lone_surrogate_in_an_id_comes_back_as_it_was() -> None:
    command = protocol.parse('{"type": "unsubscribe", "topic": "event:1", "id": "\\ud800"}')
    assert b'"id":"\\ud800"' in protocol.unsubscribed(command)
