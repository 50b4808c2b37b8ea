"""Whatever a client sends, however it is cut, is read as RFC 6455 and 7692 have it, or refused with the right code."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live.frame_reader import FrameReader, Opcode, ViolationError
from processor_live.protocol import Disconnect
from tests.fuzz import properties

LIMIT = 4_096
MASK = b"\x37\xfa\x21\x3d"
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
TAIL = b"\0\0\xff\xff"
TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION

Said = list[tuple[Opcode, str | bytes | int]]


def frame(first: int, payload: bytes = b"", mask: bytes = MASK) -> bytes:
    """Return a frame as a client sends it."""
    size = len(payload)
    length = (
        bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
    )
    head = bytes([first, length[0] | 0x80]) + length[1:] + mask
    return head + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def deflated(payload: bytes) -> bytes:
    """Return a message compressed by itself."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def read(*chunks: bytes, inflates: bool = False) -> Said:
    """Return what a new reader makes of the data, without the pieces that mean nothing yet."""
    reader = FrameReader(LIMIT, inflates=inflates)
    return [said for chunk in chunks for said in reader.feed(chunk) if said[0] is not CONTINUATION]


def why(data: bytes, *, inflates: bool = False) -> Disconnect:
    """Return for what a client that sends `data` is closed."""
    with pytest.raises(ViolationError) as caught:
        read(data, inflates=inflates)
    return caught.value.why


_payload = st.one_of(st.binary(max_size=125), st.integers(126, LIMIT).map(lambda size: b"x" * size))
_control = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, Said]:
    """Return what a client sends, fragmented, compressed and interspersed with control frames, and what it means."""
    data, meaning = b"", Said()
    for _ in range(draw(st.integers(1, 4))):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        message = draw(st.text(max_size=1_000)).encode() if opcode is TEXT else draw(_payload)
        compressed = draw(st.booleans())
        sent = deflated(message) if compressed else message
        if len(sent) > LIMIT:
            compressed, sent = False, message
        cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=3)))
        pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
        for number, piece in enumerate(pieces):
            for control, payload in draw(st.lists(_control, max_size=1)):
                data += frame(FIN | control, payload)
                meaning.append((control, payload))
            first = CONTINUATION if number else opcode | RSV1 * compressed
            data += frame(first | FIN * (number == len(pieces) - 1), piece, draw(st.binary(min_size=4, max_size=4)))
        meaning.append((opcode, message.decode() if opcode is TEXT else message))
    return data, meaning


@given(conversations(), st.lists(st.integers(1, 200), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_a_client_means_is_read_however_it_is_cut(conversation: tuple[bytes, Said], sizes: list[int]) -> None:
    data, meaning = conversation
    chunks, at = list[bytes](), 0
    while at < len(data):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(data[at : at + size])
        at += size
    assert read(*chunks, inflates=True) == meaning


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_no_bytes_at_all_do_worse_than_a_violation(data: bytes) -> None:
    properties.frames(data)


@pytest.mark.parametrize(
    "data",
    [
        bytes([FIN | TEXT, 1]) + b"x",
        frame(FIN | 0x3),
        frame(FIN | 0xB),
        frame(FIN | RSV2 | TEXT, b"x"),
        frame(FIN | RSV3 | TEXT, b"x"),
        frame(FIN | RSV1 | Opcode.PING),
        frame(TEXT, b"x") + frame(FIN | RSV1 | CONTINUATION, b"x"),
        frame(Opcode.PING),
        frame(FIN | Opcode.PING, b"x" * 126),
        frame(FIN | CONTINUATION, b"x"),
        frame(TEXT, b"x") + frame(FIN | TEXT, b"x"),
        frame(TEXT) + frame(FIN | BINARY, b"x"),
        frame(FIN | TEXT, b"x") + frame(FIN | CONTINUATION, b"x"),
        frame(FIN | Opcode.CLOSE, b"\x03"),
        *(frame(FIN | Opcode.CLOSE, code.to_bytes(2)) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)),
    ],
    ids=lambda data: data[:6].hex(),
)
def test_what_no_client_may_send_is_a_protocol_error(data: bytes) -> None:
    assert why(data, inflates=True) is Disconnect.PROTOCOL_ERROR


def test_a_compressed_message_is_a_protocol_error_unless_that_was_agreed() -> None:
    data = frame(FIN | RSV1 | TEXT, deflated(b"{}"))
    assert why(data) is Disconnect.PROTOCOL_ERROR
    assert read(data, inflates=True) == [(TEXT, "{}")]


@pytest.mark.parametrize(
    "data",
    [
        frame(FIN | TEXT, b"\xff"),
        frame(FIN | TEXT, b"\xed\xa0\x80"),
        frame(TEXT, "é".encode()[:1]) + frame(FIN | CONTINUATION, b"x"),
        frame(FIN | Opcode.CLOSE, b"\x03\xe8\xff"),
        frame(FIN | RSV1 | TEXT, b"\xff\xff"),
        frame(FIN | RSV1 | TEXT, deflated(b"\xff")),
    ],
    ids=lambda data: data[:6].hex(),
)
def test_what_cannot_be_decoded_is_invalid_data(data: bytes) -> None:
    assert why(data, inflates=True) is Disconnect.INVALID_DATA


def test_a_character_may_be_cut_between_fragments() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    assert read(frame(TEXT, first), frame(FIN | CONTINUATION, second)) == [(TEXT, "é")]


def test_each_piece_of_a_message_is_told_as_it_is_read_for_it_takes_its_time() -> None:
    pieces = frame(TEXT) + frame(CONTINUATION) * 2 + frame(FIN | CONTINUATION, b"x")
    assert list(FrameReader(LIMIT, inflates=False).feed(pieces)) == [(CONTINUATION, b"")] * 3 + [(TEXT, "x")]


@pytest.mark.parametrize(
    "data",
    [
        frame(FIN | TEXT, b"x" * (LIMIT + 1)),
        frame(FIN | TEXT, b"x" * (LIMIT + 1))[:4],
        bytes([FIN | TEXT, 0xFF]) + (2**63).to_bytes(8),
        frame(TEXT, b"x" * LIMIT) + frame(FIN | CONTINUATION, b"x")[:2],
        frame(FIN | RSV1 | TEXT, deflated(b"x" * (LIMIT + 1))),
        frame(FIN | RSV1 | TEXT, deflated(b"x" * 3_000_000)),
    ],
    ids=["whole", "by its head alone", "absurd", "in fragments", "compressed", "a bomb"],
)
def test_a_message_over_the_limit_is_too_big_as_soon_as_it_is_known(data: bytes) -> None:
    assert why(data, inflates=True) is Disconnect.TOO_BIG


def test_a_message_may_have_all_of_the_limit() -> None:
    longest = b"x" * LIMIT
    assert read(frame(FIN | BINARY, longest)) == [(BINARY, longest)]
    assert read(frame(FIN | BINARY | RSV1, deflated(longest)), inflates=True) == [(BINARY, longest)]


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8", 1000), (b"\x0f\xa0bye", 4000)])
def test_a_close_frame_says_its_code(payload: bytes, code: int) -> None:
    assert read(frame(FIN | Opcode.CLOSE, payload)) == [(Opcode.CLOSE, code)]


def test_the_examples_of_rfc_7692_are_read() -> None:
    first, second = b"\xf2\x48\xcd", b"\xc9\xc9\x07\x00"  # §7.2.3.1: "Hello", in fragments
    assert read(frame(RSV1 | TEXT, first), frame(FIN | CONTINUATION, second), inflates=True) == [(TEXT, "Hello")]
    stored, final = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"
    assert read(frame(FIN | RSV1 | TEXT, stored), inflates=True) == [(TEXT, "Hello")]  # §7.2.3.3
    assert read(frame(FIN | RSV1 | TEXT, final), inflates=True) == [(TEXT, "Hello")]  # §7.2.3.4
