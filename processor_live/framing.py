"""What bytes go over the wire?

A server's frames are not masked (RFC 6455 §5.1), so the bytes of a frame are the same for every receiver: each is made
once, and may be joined with others into one write.
"""

import msgspec

from processor_live.position import Position

_encoder = msgspec.json.Encoder()
_FIN_TEXT, _FIN_CLOSE, _FIN_PING, _FIN_PONG = 0x81, 0x88, 0x89, 0x8A
_NO_CODE = 1005
_RSV1 = 0x40
"""Marks a compressed message (RFC 7692 §6)."""
_ONE_BYTE_LENGTH, _TWO_BYTE_LENGTH = 126, 127
_ONE_BYTE_LIMIT, _TWO_BYTE_LIMIT = 126, 65_536


def text_frame(payload: bytes) -> bytes:
    """Return `payload` (UTF-8) as one final, unmasked text frame (RFC 6455 §5.2)."""
    return _frame(_FIN_TEXT, payload)


def deflated_frame(payload: bytes) -> bytes:
    """Return `payload`, a compressed text message, as one frame (RFC 7692 §7.2.1)."""
    return _frame(_FIN_TEXT | _RSV1, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame (RFC 6455 §5.5.1); 1005 is for one that says no code."""
    return _frame(_FIN_CLOSE, b"" if code == _NO_CODE else code.to_bytes(2) + reason.encode())


def ping_frame() -> bytes:
    """Return a ping that asks for nothing but an answer."""
    return _frame(_FIN_PING, b"")


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping."""
    return _frame(_FIN_PONG, payload)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < _ONE_BYTE_LIMIT:
        return bytes((first, size)) + payload
    if size < _TWO_BYTE_LIMIT:
        return bytes((first, _ONE_BYTE_LENGTH)) + size.to_bytes(2) + payload
    return bytes((first, _TWO_BYTE_LENGTH)) + size.to_bytes(8) + payload


def position_entry(position: Position) -> bytes:
    """Return the JSON object of a position entry (docs/contract.md §3)."""
    return _encoder.encode(position)


def position_prefix(topic: str) -> bytes:
    """Return what stands before an entry's first field in every `position` message of `topic`."""
    return b'{"type":"position","topic":' + _encoder.encode(topic) + b","


def position_message(prefix: bytes, entry: bytes) -> bytes:
    """Return a `position` message: the topic's prefix and the entry without its opening brace."""
    return prefix + entry[1:]
