"""What has the client said? (RFC 6455 §5 and RFC 7692 §7.2, without I/O)"""

import enum
import zlib
from collections.abc import Iterator

from processor_live.protocol import Disconnect

_FIN, _RSV1, _OTHER_RSV, _OPCODE = 0x80, 0x40, 0x30, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_HEAD, _MASK = 2, 4
"""Bytes of a frame's fixed head, and of the mask that a client must use."""
_LENGTH_BYTES = {126: 2, 127: 8}
_MAX_CONTROL = 125
_CLOSE_CODE = 2
_SYNC_FLUSH = b"\0\0\xff\xff"
"""What a sender leaves out at the end of a compressed message."""
_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""What a close frame may say (RFC 6455 §7.4, and the registry of IANA)."""


class Opcode(enum.IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_KNOWN = frozenset(Opcode)
_CONTROL = frozenset({Opcode.CLOSE, Opcode.PING, Opcode.PONG})


class ViolationError(Exception):
    """The client breaks the rules: `why` it must be closed."""

    def __init__(self, why: Disconnect) -> None:
        super().__init__(why.reason)
        self.why = why


class FrameReader:
    """Makes messages of the bytes that come from a client, each of at most `limit` bytes when it is decoded.

    With `inflates`, messages may be compressed, each by itself: the server must have asked for
    `client_no_context_takeover`.
    """

    __slots__ = ("_compressed", "_data", "_inflates", "_limit", "_message", "_opcode")

    def __init__(self, limit: int, *, inflates: bool) -> None:
        self._limit = limit
        self._inflates = inflates
        self._data = b""
        """The beginning of a frame whose rest has not come yet."""
        self._opcode: int | None = None
        """What the fragments are of, between the first and the last of a message."""
        self._message = b""
        """The fragments so far."""
        self._compressed = False
        """Whether they are compressed."""

    def feed(self, data: bytes) -> Iterator[tuple[Opcode, str | bytes | int]]:
        """Yield what each frame says: a message (str or bytes), a ping or pong (bytes), or a close frame (its code).

        A close frame without a code has 1005 (RFC 6455 §7.1.5). A message comes with its last fragment, each before it
        is an empty `CONTINUATION`: whoever takes turns by what has been yielded counts it, too. Take all before more is
        fed. Raises `ViolationError`: nothing must be fed after it.
        """
        data = self._data + data if self._data else data
        at = 0
        while (frame := self._frame(data, at)) is not None:
            first, payload, at = frame
            opcode = Opcode(first & _OPCODE)
            if opcode is Opcode.CLOSE:
                yield opcode, _close_code(payload)
            elif opcode in _CONTROL:
                yield opcode, payload
            else:
                if opcode is not Opcode.CONTINUATION:
                    self._opcode, self._compressed = opcode, bool(first & _RSV1)
                self._message += payload
                yield self._whole_message() if first & _FIN else (Opcode.CONTINUATION, b"")
        self._data = data[at:]

    def _frame(self, data: bytes, at: int) -> tuple[int, bytes, int] | None:
        """Return the frame that begins at `at`: its first byte, its payload, unmasked, and its end; None of a part."""
        start = at + _HEAD
        if len(data) < start:
            return None
        first, length = data[at], data[at + 1] & _LENGTH
        self._check(first, length, masked=data[at + 1] & _MASKED != 0)
        extended = _LENGTH_BYTES.get(length, 0)
        if extended:
            if len(data) < start + extended:
                return None
            length = int.from_bytes(data[start : start + extended])
            start += extended
        if first & _OPCODE not in _CONTROL and len(self._message) + length > self._limit:
            raise ViolationError(Disconnect.TOO_BIG)
        end = start + _MASK + length
        if len(data) < end:
            return None
        return first, _unmasked(data[start + _MASK : end], data[start : start + _MASK]), end

    def _check(self, first: int, length: int, *, masked: bool) -> None:
        opcode = first & _OPCODE
        if (
            opcode not in _KNOWN
            or not masked
            or first & _OTHER_RSV
            or (first & _RSV1 and not (self._inflates and opcode in {Opcode.TEXT, Opcode.BINARY}))
            or (opcode in _CONTROL and (length > _MAX_CONTROL or not first & _FIN))
            or (opcode == Opcode.CONTINUATION and self._opcode is None)
            or (opcode in {Opcode.TEXT, Opcode.BINARY} and self._opcode is not None)
        ):
            raise ViolationError(Disconnect.PROTOCOL_ERROR)

    def _whole_message(self) -> tuple[Opcode, str | bytes]:
        opcode, message = self._opcode, self._message
        self._opcode, self._message = None, b""
        if self._compressed:
            message = self._inflated(message)
        if opcode == Opcode.BINARY:
            return Opcode.BINARY, message
        return Opcode.TEXT, _text(message)

    def _inflated(self, message: bytes) -> bytes:
        try:
            inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(message + _SYNC_FLUSH, self._limit + 1)
        except zlib.error:
            raise ViolationError(Disconnect.INVALID_DATA) from None
        if len(inflated) > self._limit:
            raise ViolationError(Disconnect.TOO_BIG)
        return inflated


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """Return `payload` XOR the repeated mask, as one operation on two large numbers."""
    size = len(payload)
    key = (mask * (size // _MASK + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ViolationError(Disconnect.INVALID_DATA) from None


def _close_code(payload: bytes) -> int:
    if not payload:
        return 1005
    code = int.from_bytes(payload[:_CLOSE_CODE])
    if len(payload) < _CLOSE_CODE or code not in _CODES:
        raise ViolationError(Disconnect.PROTOCOL_ERROR)
    _text(payload[_CLOSE_CODE:])
    return code
