"""How does a connection go on after its handshake? (RFC 6455 §5.5 and §7)

HTTP is left behind with the request: what aiohttp keeps for a request, and the task that serves it, take 17 KB for as
long as they live; this takes two.
"""

import asyncio
from collections.abc import Callable, Iterator

from processor_live.frame_reader import FrameReader, Opcode, ViolationError
from processor_live.framing import close_frame, ping_frame, pong_frame
from processor_live.kernel import Mark, abort_now, close_soon
from processor_live.ping import LOOKS, Ping
from processor_live.protocol import Disconnect

ABNORMAL = 1006
"""The code of a connection that ended without a close frame (RFC 6455 §7.1.5)."""
PATIENCE = 0.5
"""Ping intervals that a client has for its answer."""
MAX_UNREAD_PONGS = 32
"""What may wait for a client before its pings go unanswered; from Python 3.12 on each write adds up all that wait."""
FRAMES_PER_TURN = 32
"""Taken from one client before the loop may do something else, fragments included: a millisecond for commands."""


class WebSocket(asyncio.Protocol):
    """The protocol of a transport from its upgrade to its end; `begin` it when messages can be taken."""

    __slots__ = (
        "_broken", "_end", "_heard", "_last_pong", "_lost", "_ping", "_ping_interval_s", "_pongs", "_reader",
        "_stopped", "_take", "_timer", "_waiter", "close_code", "open", "transport",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, reader: FrameReader, ping_interval_s: float) -> None:
        self.transport = transport
        self.open = True
        """Whether frames can still be sent: until the first close frame of either side, or the end."""
        self.close_code: int | None = None
        """The code that the connection was closed with, once it has been."""
        self._reader = reader
        self._ping_interval_s = ping_interval_s
        self._heard = 0.0
        """When the client last said anything (loop time)."""
        self._ping: Ping | None = None
        """While the client owes an answer."""
        self._pongs = 0
        """Sent since it was last known that all had been read."""
        self._last_pong: Mark | None = None
        """Where it is, when no more may be sent until it has been read."""
        self._timer: asyncio.TimerHandle | None = None
        self._take: Callable[[str | bytes], None] | None = None
        """Where messages go; None before the beginning and after the end of reading."""
        self._end: Callable[[], None] | None = None
        """Whom to tell that no more will come; None before the beginning and after he has been told."""
        self._stopped = False
        self._broken = False
        """Whether the client has said what cannot be read: then nothing that follows can."""
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        """While somebody waits for the transport to be gone."""

    def begin(self, take: Callable[[str | bytes], None], end: Callable[[], None], early: bytes) -> None:
        """Hand each message to `take`; call `end` once, when no more will come. `early` came behind the handshake.

        The transport reads from now on.
        """
        self.transport.resume_reading()
        if self._stopped:
            end()
            return
        self._take, self._end = take, end
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        self._timer = loop.call_later(self._ping_interval_s, self._beat)
        if early:
            self.data_received(early)

    def stop(self) -> None:
        """Take no more messages."""
        self._take = None
        if not self._stopped:
            self._stopped = True
            end, self._end = self._end, None  # it holds this: no cycle, with a cookie in it, must be left
            if end is not None:
                end()

    def data_received(self, data: bytes) -> None:
        """Take what the client says. Any frame is a sign of life."""
        self._heard = asyncio.get_running_loop().time()
        self._ping = None
        if not self._broken:
            self._listen(self._reader.feed(data))

    def _listen(self, frames: Iterator[tuple[Opcode, str | bytes | int]]) -> None:
        """Take some frames: who says a thousand things at once takes turns with everybody else."""
        try:
            for turn, (opcode, said) in enumerate(frames, 1):
                if self.transport.is_closing():
                    return
                self._hear(opcode, said)
                if turn == FRAMES_PER_TURN:
                    self.transport.pause_reading()
                    asyncio.get_running_loop().call_soon(self._go_on, frames)
                    return
        except ViolationError as violation:
            self._broken = True
            self.close(violation.why)
            self.stop()

    def _go_on(self, frames: Iterator[tuple[Opcode, str | bytes | int]]) -> None:
        self.transport.resume_reading()
        self._listen(frames)

    def _hear(self, opcode: Opcode, said: str | bytes | int) -> None:
        if isinstance(said, int):
            self._part(said)
        elif opcode is Opcode.PING:
            if self.open and isinstance(said, bytes):
                self._answer(said)
        elif opcode in {Opcode.TEXT, Opcode.BINARY} and self._take is not None:
            self._take(said)

    def _answer(self, ping: bytes) -> None:
        """Send a pong, unless as many as may wait have not been read."""
        if self._last_pong is not None:
            if self.transport.get_write_buffer_size() and not self._last_pong.passed:
                return
            self._pongs, self._last_pong = 0, None
        self.transport.write(pong_frame(ping))
        self._pongs += 1
        if self._pongs == MAX_UNREAD_PONGS:
            self._last_pong = Mark(self.transport)

    def _part(self, code: int) -> None:
        """Let the client go: it has said goodbye, first or in answer to ours."""
        if self.open:
            self.open, self.close_code = False, code
            self.transport.write(close_frame(code))
        close_soon(self.transport)
        self.stop()

    def close(self, why: Disconnect) -> None:
        """Say goodbye; await `lost` to give the client the time to answer."""
        if self.open:
            self.open, self.close_code = False, why.code
            self.transport.write(close_frame(why.code, why.reason))

    async def lost(self) -> None:
        """Wait until the transport is gone: the client has answered our close frame, or has hung up."""
        if not self._lost:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Be told by the transport that it is gone."""
        self.open, self._lost = False, True
        if self.close_code is None:
            self.close_code = ABNORMAL
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self.stop()

    def _beat(self) -> None:
        """Ping a client that has been silent for an interval, and drop it when it does not answer."""
        loop = asyncio.get_running_loop()
        wait_s = PATIENCE * self._ping_interval_s / LOOKS
        if self._ping is not None:
            if self._ping.in_vain():
                abort_now(self.transport)
                return
        elif (left_s := self._heard + self._ping_interval_s - loop.time()) > 0:
            wait_s = left_s
        else:
            if self.open:
                self.transport.write(ping_frame())
            self._ping = Ping(self.transport)
        self._timer = loop.call_later(wait_s, self._beat)
