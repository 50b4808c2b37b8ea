"""What may a client say, and what does the server answer? (docs/contract.md §2 and §3, without I/O)"""

import enum
import json
from collections.abc import Iterable
from typing import NamedTuple, cast

from marshmallow import RAISE, Schema, ValidationError, fields, validate

MAX_MESSAGE_BYTES = 4_096
MAX_ID_CHARACTERS = 128
SUBPROTOCOL = "live.v1"


class Kind(enum.StrEnum):
    """The commands there are."""

    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"


class Command(NamedTuple):
    """A valid client message."""

    kind: Kind
    topic: str
    id: str | None
    """The client's correlation id, echoed in the answer."""


class ErrorCode(enum.StrEnum):
    """The codes of `error` messages."""

    INVALID_MESSAGE = "invalid-message"
    UNKNOWN_TOPIC = "unknown-topic"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    SESSION_ENDED = "session-ended"
    UNDECIDED = "error"
    TOO_MANY_SUBSCRIPTIONS = "too-many-subscriptions"
    RATE_LIMITED = "rate-limited"


EXPLANATIONS = {
    ErrorCode.UNKNOWN_TOPIC: "no such kind of topic; an event is event:<uuid> in canonical lower-case form",
    ErrorCode.FORBIDDEN: "you may not follow this topic",
    ErrorCode.NOT_FOUND: "there is no such event",
    ErrorCode.SESSION_ENDED: "your session has ended; reconnect, and sign in again if that is refused",
    ErrorCode.UNDECIDED: "it could not be decided whether you may follow this topic; try again in a moment",
    ErrorCode.TOO_MANY_SUBSCRIPTIONS: "this connection follows as many topics as it may; unsubscribe from one first",
    ErrorCode.RATE_LIMITED: "too many commands at once; slow down and send this one again",
}


class Verdict(enum.Enum):
    """May this connection follow this topic? The answer of the `AUTHORIZE` slot."""

    ALLOW = None
    UNKNOWN_TOPIC = ErrorCode.UNKNOWN_TOPIC
    FORBIDDEN = ErrorCode.FORBIDDEN
    NOT_FOUND = ErrorCode.NOT_FOUND
    SESSION_ENDED = ErrorCode.SESSION_ENDED
    UNDECIDED = ErrorCode.UNDECIDED


class Disconnect(enum.Enum):
    """Why the server closes a connection: close code and the reason sent with it (docs/contract.md §3)."""

    PROTOCOL_ERROR = (1002, "not WebSocket (RFC 6455)")
    INVALID_DATA = (1007, "neither UTF-8 nor compressed as agreed")
    VIOLATIONS = (1008, "too many invalid messages")
    TOO_BIG = (1009, "a message has at most 4096 bytes")
    FAILED = (1011, "the server failed")
    RESTART = (1012, "the server restarts")
    SLOW = (1013, "the client does not read")
    SESSION_ENDED = (4401, "the session has ended")

    @property
    def code(self) -> int:
        """The WebSocket close code."""
        return self.value[0]

    @property
    def reason(self) -> str:
        """What a person reads beside the code."""
        return self.value[1]


class InvalidMessageError(Exception):
    """Not a valid client message: the text says why, `topic` and `id` are those it had, if they could be read."""

    def __init__(self, reason: str, topic: str | None = None, id_: str | None = None) -> None:
        super().__init__(reason)
        self.topic = topic
        self.id = id_


class _CommandSchema(Schema):
    class Meta:
        unknown = RAISE

    type = fields.String(required=True, validate=validate.OneOf([kind.value for kind in Kind]))
    topic = fields.String(required=True)
    id = fields.String(validate=validate.Length(max=MAX_ID_CHARACTERS))


_schema = _CommandSchema()


def parse(message: str | bytes) -> Command:
    """Return the command of a message (`bytes`: of a binary frame). Raise `InvalidMessageError` if it is none."""
    if isinstance(message, bytes):
        raise InvalidMessageError("binary frames are not understood; send text")
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        raise InvalidMessageError("not JSON") from None
    if not isinstance(said, dict):
        raise InvalidMessageError("not a JSON object")
    try:
        valid = _schema.load(said)
    except ValidationError as error:
        topic, id_ = said.get("topic"), said.get("id")
        raise InvalidMessageError(
            _summary(error),
            topic if isinstance(topic, str) else None,
            id_ if isinstance(id_, str) and len(id_) <= MAX_ID_CHARACTERS else None,
        ) from None
    return Command(Kind(valid["type"]), valid["topic"], valid.get("id"))


def _summary(error: ValidationError) -> str:
    """Return marshmallow's findings as one line: `type: Must be one of: …; extra: Unknown field.`"""
    findings = cast("dict[str, list[str]]", error.messages)
    return "; ".join(f"{str(field)[:MAX_ID_CHARACTERS]}: {' '.join(texts)}" for field, texts in findings.items())


def _message(type_: str, topic: str | None, id_: str | None, **more: str) -> bytes:
    """Return a message as JSON; ASCII escapes carry even the lone surrogates a client may have put into its id."""
    named = {"type": type_, "topic": topic, "id": id_, **more}
    present = {name: value for name, value in named.items() if value is not None}
    return json.dumps(present, separators=(",", ":")).encode("ascii")


def subscribed(command: Command, entries: Iterable[bytes]) -> bytes:
    """Return the answer to a granted `subscribe`; `entries` are the snapshot's position entries as JSON."""
    return _message("subscribed", command.topic, command.id)[:-1] + b',"snapshot":[' + b",".join(entries) + b"]}"


def unsubscribed(command: Command) -> bytes:
    """Return the answer to an `unsubscribe`."""
    return _message("unsubscribed", command.topic, command.id)


def refused(command: Command, code: ErrorCode) -> bytes:
    """Return the answer to a command that was understood but not carried out."""
    return _message("error", command.topic, command.id, code=code, message=EXPLANATIONS[code])


def misunderstood(error: InvalidMessageError) -> bytes:
    """Return the answer to what was no command."""
    return _message("error", error.topic, error.id, code=ErrorCode.INVALID_MESSAGE, message=str(error))
