"""A connection after its handshake answers pings, parts politely, and notices who is no longer there."""

import asyncio
import time
from collections.abc import Callable

import pytest

from processor_live.frame_reader import FrameReader
from processor_live.framing import close_frame, ping_frame, pong_frame
from processor_live.kernel import Mark, bound_send_buffer
from processor_live.protocol import Disconnect
from processor_live.websocket import FRAMES_PER_TURN, MAX_UNREAD_PONGS, WebSocket
from tests.core.pair import Pair
from tests.core.test_frame_reader import frame
from tests.core.wire import CLOSED, Transport, until

HELLO, PING, PONG = frame(0x81, b"hello"), frame(0x89, b"there?"), frame(0x8A)
SOON_S = 0.2


class Peer:
    """A client, and what the server's end of the connection makes of what it says."""

    def __init__(self, ping_interval_s: float = 3_600) -> None:
        self.transport = Transport()
        self.ws = WebSocket(self.transport, FrameReader(100, inflates=False), ping_interval_s)
        self.transport.set_protocol(self.ws)
        self.taken: list[str | bytes] = []
        self.ends = 0

    def end(self) -> None:
        self.ends += 1

    def begin(self, early: bytes = b"") -> "Peer":
        self.ws.begin(self.taken.append, self.end, early)
        return self

    def says(self, data: bytes) -> None:
        self.ws.data_received(data)


async def test_messages_are_handed_on_and_pings_answered() -> None:
    peer = Peer().begin()
    peer.says(HELLO + PING + PONG + HELLO)
    assert peer.taken == ["hello", "hello"]
    assert peer.transport.received == pong_frame(b"there?")


async def test_who_reads_no_answers_gets_only_so_many_to_its_pings() -> None:
    peer = Peer().begin()
    peer.transport.stall()
    for _ in range(3 * MAX_UNREAD_PONGS):
        peer.says(PING)
    assert peer.transport.written == pong_frame(b"there?") * MAX_UNREAD_PONGS
    peer.transport.read_all()
    peer.says(PING)
    assert peer.transport.received == pong_frame(b"there?") * (MAX_UNREAD_PONGS + 1)


async def test_who_reads_all_answers_gets_one_to_each_of_its_pings_however_many_come_at_once() -> None:
    peer = Peer().begin()
    for _ in range(3):
        peer.says(PING * MAX_UNREAD_PONGS)
        await until(lambda: not peer.transport.paused)
    assert peer.transport.received == pong_frame(b"there?") * 3 * MAX_UNREAD_PONGS


async def test_who_is_always_behind_but_reads_the_answers_to_its_pings_gets_more(pair: Pair) -> None:
    ws = WebSocket(pair.transport, FrameReader(100, inflates=False), 3_600)
    bound_send_buffer(pair.transport)
    size, pong = 200_000, len(pong_frame(b"there?"))
    pair.transport.write(b"x" * size)
    for _ in range(2):
        before = pair.transport.get_write_buffer_size()
        for _ in range(2 * MAX_UNREAD_PONGS):
            ws.data_received(PING)
        answers = pair.transport.get_write_buffer_size() - before
        assert answers == MAX_UNREAD_PONGS * pong
        answered = Mark(pair.transport)
        pair.transport.write(b"x" * size)
        await pair.received(size + answers)
        await until(lambda: answered.passed)  # noqa: B023 - it is awaited at once
        assert pair.transport.get_write_buffer_size()


async def test_who_says_much_at_once_takes_turns_with_everybody_else() -> None:
    peer = Peer().begin()
    peer.says(HELLO * (2 * FRAMES_PER_TURN + 1))
    for turn in (1, 2):
        assert (len(peer.taken), peer.transport.paused) == (turn * FRAMES_PER_TURN, True)
        await asyncio.sleep(0)
    assert (len(peer.taken), peer.transport.paused) == (2 * FRAMES_PER_TURN + 1, False)


async def test_a_message_in_many_pieces_takes_turns_too_however_little_is_in_them() -> None:
    peer = Peer().begin()
    peer.says(frame(0x01) + frame(0x00) * (2 * FRAMES_PER_TURN - 1) + frame(0x80, b"hello"))
    for _ in range(2):
        assert (peer.taken, peer.transport.paused) == ([], True)
        await asyncio.sleep(0)
    assert (peer.taken, peer.transport.paused) == (["hello"], False)


async def test_who_has_hung_up_is_not_listened_to_between_two_turns() -> None:
    peer = Peer().begin()
    peer.says(HELLO * (FRAMES_PER_TURN + 1))
    peer.transport.abort()
    await asyncio.sleep(0)
    assert len(peer.taken) == FRAMES_PER_TURN


async def test_what_came_with_the_handshake_is_read_first() -> None:
    peer = Peer().begin(early=HELLO[:5])
    peer.says(HELLO[5:])
    assert peer.taken == ["hello"]


@pytest.mark.parametrize(("code", "said"), [(1000, b"\x03\xe8"), (4000, b"\x0f\xa0"), (1005, b"")])
async def test_a_client_that_parts_is_answered_in_kind_and_the_connection_ends(code: int, said: bytes) -> None:
    peer = Peer().begin()
    peer.says(frame(0x88, said) + HELLO)
    assert peer.transport.received == close_frame(code)
    assert peer.transport.is_closing()
    assert (peer.ws.close_code, peer.ws.open, peer.ends, peer.taken) == (code, False, 1, [])


async def test_a_goodbye_of_ours_waits_for_the_answer_and_takes_no_more_messages() -> None:
    peer = Peer().begin()
    peer.ws.close(Disconnect.RESTART)
    peer.ws.stop()
    lost = asyncio.create_task(peer.ws.lost())
    peer.says(HELLO + PING)
    await asyncio.sleep(0)
    assert not lost.done()
    assert not peer.transport.is_closing()
    peer.says(CLOSED)
    await lost
    assert peer.transport.received == close_frame(1012, "the server restarts")
    assert (peer.ws.close_code, peer.ends, peer.taken) == (1012, 1, [])


async def test_who_breaks_the_rules_is_told_which_and_not_listened_to_any_more() -> None:
    peer = Peer().begin()
    peer.says(HELLO + frame(0x81, b"x" * 101) + HELLO)
    peer.says(HELLO)
    assert peer.taken == ["hello"]
    assert peer.transport.received == close_frame(1009, Disconnect.TOO_BIG.reason)
    assert (peer.ws.close_code, peer.ends) == (1009, 1)


async def test_a_connection_that_breaks_ends_with_1006_once() -> None:
    peer = Peer().begin()
    peer.ws.connection_lost(ConnectionResetError())
    peer.ws.connection_lost(None)
    await peer.ws.lost()
    assert (peer.ws.close_code, peer.ws.open, peer.ends) == (1006, False, 1)


@pytest.mark.parametrize("early", ["lost", "closed"])
async def test_a_connection_that_was_over_before_it_began_ends_at_once(early: str) -> None:
    peer = Peer()
    if early == "lost":
        peer.ws.connection_lost(None)
    else:
        peer.says(CLOSED)
    peer.begin()
    assert peer.ends == 1


async def test_a_connection_that_was_to_be_closed_before_it_began_is_stopped_at_once() -> None:
    peer = Peer()
    peer.ws.stop()
    peer.begin(early=HELLO)
    assert (peer.ends, peer.taken) == (1, [])


async def test_a_silent_client_is_pinged_and_dropped_when_it_does_not_answer() -> None:
    peer, clock = Peer(SOON_S).begin(), asyncio.get_running_loop().time
    began = clock()
    await peer.transport.wrote.wait()
    assert clock() - began >= SOON_S
    assert peer.transport.received == ping_frame()
    await until(lambda: peer.transport.aborted)
    assert clock() - began >= 1.5 * SOON_S
    assert (peer.ws.close_code, peer.ends) == (1006, 1)


@pytest.mark.parametrize("sign", [PONG, HELLO, PING, HELLO[:3]], ids=["pong", "message", "ping", "half a frame"])
async def test_whatever_a_client_says_is_a_sign_of_life(sign: bytes) -> None:
    peer, clock = Peer(SOON_S).begin(), asyncio.get_running_loop().time
    began = clock()
    for _ in range(3):
        await peer.transport.wrote.wait()
        peer.transport.wrote.clear()
        peer.says(sign)
        peer.transport.wrote.clear()
        sign = sign if len(sign) > 3 else HELLO[3:]
    assert not peer.transport.aborted
    assert peer.transport.received.count(ping_frame()) >= 3
    assert clock() - began > 2.9 * SOON_S, "one ping in an interval"
    peer.transport.abort()


async def test_who_reads_slowly_what_came_before_a_ping_is_not_dropped_while_it_cannot_have_seen_it(pair: Pair) -> None:
    ws = WebSocket(pair.transport, FrameReader(100, inflates=False), SOON_S)
    pair.transport.set_protocol(ws)
    bound_send_buffer(pair.transport)
    ws.begin(lambda _: None, lambda: None, b"")
    before = b"x" * 1_000_000
    pair.transport.write(before)
    clock = asyncio.get_running_loop().time
    began, read = clock(), 0
    while clock() - began < 5 * SOON_S:
        read += await pair.received(1_000)
        await asyncio.sleep(SOON_S / 100)
    assert read < len(before)
    await pair.received(len(before) - read)
    assert await asyncio.get_running_loop().sock_recv(pair.client, 100) == ping_frame()
    await asyncio.get_running_loop().sock_sendall(pair.client, PONG)
    assert await asyncio.get_running_loop().sock_recv(pair.client, 100) == ping_frame(), "it is as alive as any other"
    assert ws.close_code is None


async def test_after_a_standstill_of_ours_who_was_not_pinged_is_pinged_and_not_dropped() -> None:
    peer = Peer(SOON_S).begin()
    time.sleep(3 * SOON_S)  # noqa: ASYNC251 - nothing turns meanwhile
    await until(lambda: peer.transport.wrote.is_set() or peer.transport.aborted)
    assert peer.transport.received == ping_frame()
    assert not peer.transport.aborted
    peer.transport.abort()


async def test_after_a_standstill_of_ours_who_was_pinged_before_still_has_time_to_answer() -> None:
    peer = Peer(SOON_S).begin()
    await peer.transport.wrote.wait()
    peer.transport.wrote.clear()
    time.sleep(3 * SOON_S)  # noqa: ASYNC251 - nothing turns meanwhile
    for _ in range(3):
        await asyncio.sleep(0)
    assert not peer.transport.aborted
    peer.says(PONG)
    await peer.transport.wrote.wait()
    assert peer.transport.received == 2 * ping_frame()
    peer.transport.abort()


async def test_no_timer_is_left_when_a_connection_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def noting(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        handles.append(call_later(delay, callback))
        return handles[-1]

    monkeypatch.setattr(loop, "call_later", noting)
    peer = Peer().begin()
    peer.ws.connection_lost(None)
    assert [handle.cancelled() for handle in handles] == [True]
