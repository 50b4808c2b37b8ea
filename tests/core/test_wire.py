"""What is no WebSocket by RFC 6455 and 7692 ends with the close code that says so, and concerns nobody else."""

import asyncio
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest

from processor_live.endpoint import CONNECTIONS
from processor_live.protocol import MAX_MESSAGE_BYTES
from processor_live.websocket import FRAMES_PER_TURN
from tests.core.door import Start
from tests.core.stranger import (
    BINARY,
    CONTINUATION,
    DEFLATE,
    PING,
    PONG,
    TEXT,
    Stranger,
    close_frame,
    deflated,
    frame,
    in_pieces,
    strangers,
)
from tests.core.wire import CLOSE, FIN, RSV1, TAIL, Frame, metric, until
from tests.running import keeping_a_diary

RSV2, RSV3 = 0x20, 0x10
UNSUBSCRIBE = b'{"type":"unsubscribe","topic":"event:1"}'
UNSUBSCRIBED = {"type": "unsubscribed", "topic": "event:1"}
BOMB_BYTES = 3_000_000
BOMB = deflated(b" " * BOMB_BYTES)
"""Fits into one message of 4 KiB; inflated it is a thousand times as large."""
FORBIDDEN_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)
"""RFC 6455 §7.4: reserved, for local use only, or not defined by any standard."""


@pytest.fixture
async def stranger(start: Start) -> AsyncIterator[Stranger]:
    """Somebody with a WebSocket and permessage-deflate, beside a viewer who has nothing to do with it."""
    browser = await start()
    assert browser.port is not None
    assert browser.app is not None
    with keeping_a_diary() as diary:
        async with strangers(browser.port, 2) as (witness, stranger):
            assert await witness.upgrade("Cookie: session=1") == 101
            assert await stranger.upgrade("Cookie: session=2", f"Sec-WebSocket-Extensions: {DEFLATE}") == 101
            yield stranger
            await witness.send(frame(TEXT, UNSUBSCRIBE))
            assert said(await witness.receive()) == UNSUBSCRIBED
            connections = browser.app[CONNECTIONS]
            if stranger.gone:
                await until(lambda: len(connections) == 1)
    assert diary.lines == []


def said(received: Frame | None) -> object:
    """Return what the server said."""
    assert received is not None
    assert (received.opcode, received.compressed) == (TEXT, False)
    return json.loads(received.payload)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(TEXT, UNSUBSCRIBE, masked=False), 1002, id="unmasked"),
        pytest.param(frame(CLOSE, masked=False), 1002, id="unmasked close"),
        pytest.param(frame(TEXT, UNSUBSCRIBE, flags=FIN | RSV2), 1002, id="second reserved bit"),
        pytest.param(frame(TEXT, UNSUBSCRIBE, flags=FIN | RSV3), 1002, id="third reserved bit"),
        pytest.param(frame(PING, flags=FIN | RSV2), 1002, id="reserved bit of a ping"),
        pytest.param(frame(0x3, b"x"), 1002, id="reserved opcode"),
        pytest.param(frame(0xB, b"x"), 1002, id="reserved control opcode"),
        pytest.param(frame(PING, b"x", flags=0), 1002, id="ping in pieces"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="ping of 126 bytes"),
        pytest.param(frame(CONTINUATION, b"x"), 1002, id="the rest of nothing"),
        pytest.param(frame(TEXT, b"x", flags=0) + frame(TEXT, b"x"), 1002, id="a message within a message"),
        pytest.param(
            frame(TEXT, b"x", flags=RSV1) + frame(CONTINUATION, b"x", flags=FIN | RSV1), 1002, id="a piece compressed"
        ),
        pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="no UTF-8"),
        pytest.param(b"".join(in_pieces(b"\xce\xba\xed\xa0\x80", 1)), 1007, id="no UTF-8 in pieces"),
        pytest.param(frame(TEXT, deflated(b"\xff\xfe"), flags=FIN | RSV1), 1007, id="no UTF-8, compressed"),
        pytest.param(close_frame(1000, b"\xff"), 1007, id="no UTF-8 at the close"),
        pytest.param(frame(CLOSE, b"\x03"), 1002, id="half a close code"),
        *(pytest.param(close_frame(code), 1002, id=f"close {code}") for code in FORBIDDEN_CODES),
        pytest.param(frame(TEXT, size=MAX_MESSAGE_BYTES + 1), 1009, id="oversized by its head"),
        pytest.param(frame(TEXT, size=2**62), 1009, id="four exbibytes by its head"),
        pytest.param(frame(TEXT, size=2**64 - 1), 1009, id="more than there can be"),
        pytest.param(b"".join(in_pieces(b"x" * (MAX_MESSAGE_BYTES + 1), 1_000)), 1009, id="oversized in pieces"),
        pytest.param(frame(TEXT, BOMB, flags=FIN | RSV1), 1009, id="bomb"),
        pytest.param(frame(BINARY, BOMB, flags=FIN | RSV1), 1009, id="binary bomb"),
        pytest.param(b"".join(in_pieces(BOMB, 500, flags=RSV1)), 1009, id="bomb in pieces"),
        pytest.param(frame(TEXT, b"\xff" * 100, flags=FIN | RSV1), 1007, id="compressed garbage"),
    ],
)
async def test_a_violation_is_named_by_its_close_code(stranger: Stranger, sent: bytes, code: int) -> None:
    await stranger.send(sent)
    assert await stranger.farewell() == code


async def test_without_compression_agreed_on_no_frame_may_be_compressed(start: Start) -> None:
    browser = await start()
    assert browser.port is not None
    async with strangers(browser.port) as (stranger,):
        await stranger.upgrade("Cookie: session=1")
        await stranger.send(frame(TEXT, deflated(UNSUBSCRIBE), flags=FIN | RSV1))
        assert await stranger.farewell() == 1002


async def test_a_bomb_is_not_inflated_beyond_the_limit(stranger: Stranger) -> None:
    assert len(BOMB) < MAX_MESSAGE_BYTES
    assert len(zlib.decompressobj(-15).decompress(BOMB + TAIL)) == BOMB_BYTES
    tracemalloc.start()
    try:
        await stranger.send(frame(TEXT, BOMB, flags=FIN | RSV1))
        assert await stranger.farewell() == 1009
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < BOMB_BYTES / 2


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frame(TEXT, UNSUBSCRIBE), id="whole"),
        pytest.param(b"".join(in_pieces(UNSUBSCRIBE, 1)), id="in pieces of a byte"),
        pytest.param(
            frame(TEXT, b"", flags=0) + frame(CONTINUATION, UNSUBSCRIBE, flags=0) + frame(CONTINUATION),
            id="between empty pieces",
        ),
        pytest.param(frame(TEXT, deflated(UNSUBSCRIBE), flags=FIN | RSV1), id="compressed"),
        pytest.param(b"".join(in_pieces(deflated(UNSUBSCRIBE), 7, flags=RSV1)), id="compressed in pieces"),
        pytest.param(frame(TEXT, deflated(b" " * 4_000 + UNSUBSCRIBE), flags=FIN | RSV1), id="inflates to under 4 KiB"),
    ],
)
async def test_a_command_is_understood_however_it_is_wrapped(stranger: Stranger, sent: bytes) -> None:
    await stranger.send(sent)
    assert said(await stranger.receive()) == UNSUBSCRIBED


async def test_what_repeats_a_client_never_enters_a_window(stranger: Stranger) -> None:
    for type_ in ("unsubscribe", "subscribe", "?"):
        await stranger.send(frame(TEXT, json.dumps({"type": type_, "topic": "a" * 500, "id": "b" * 100}).encode()))
        answer = await stranger.receive()
        assert answer is not None
        assert b"a" * 500 in answer.payload
        assert not answer.compressed


async def test_a_ping_is_answered_between_the_pieces_of_a_message(stranger: Stranger) -> None:
    first, *rest = in_pieces(UNSUBSCRIBE, 10)
    await stranger.send(first, frame(PING, b"here?"), *rest)
    assert await stranger.receive() == Frame(PONG, b"here?", compressed=False)
    assert said(await stranger.receive()) == UNSUBSCRIBED


async def test_bytes_that_come_one_by_one_are_a_command_all_the_same(stranger: Stranger) -> None:
    for number in range(len(sent := frame(TEXT, UNSUBSCRIBE))):
        await stranger.send(sent[number : number + 1])
        await asyncio.sleep(0)
    assert said(await stranger.receive()) == UNSUBSCRIBED


async def test_what_follows_a_close_frame_is_not_read(stranger: Stranger) -> None:
    before = metric("live_commands_total", answer="unsubscribed")
    await stranger.send(close_frame(1000), frame(TEXT, UNSUBSCRIBE))
    assert await stranger.farewell() == 1000
    assert metric("live_commands_total", answer="unsubscribed") == before


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
async def test_a_close_code_that_may_be_sent_is_echoed(stranger: Stranger, code: int) -> None:
    await stranger.send(close_frame(code))
    assert await stranger.farewell() == code


async def test_who_says_a_thousand_things_at_once_takes_turns_with_everybody_else(stranger: Stranger) -> None:
    def answered() -> float:
        return metric("live_commands_total", answer="unsubscribed") + metric(
            "live_commands_total", answer="rate-limited"
        )

    before, count, most_in_a_turn = answered(), 200, 0.0
    await stranger.send(frame(TEXT, UNSUBSCRIBE) * count)
    last = before
    while last < before + count:
        await asyncio.sleep(0)
        last, most_in_a_turn = answered(), max(most_in_a_turn, answered() - last)
    assert most_in_a_turn <= 2 * FRAMES_PER_TURN, "one turn's, and the answers that have waited"
