"""What is on its way to one client?

A client that keeps up is written to directly. One whose transport holds more than the threshold is *lagging*: its
control messages queue in order, its positions go into a mailbox that keeps only the newest of each topic and device,
and `drain` hands both out as the transport takes them (docs/contract.md §5 G4, G5).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from processor_live import metrics
from processor_live.framing import text_frame
from processor_live.kernel import abort_now, unsent_bytes
from processor_live.protocol import Disconnect

MAX_CONTROL_MESSAGES = 256
"""Queued for a lagging client before it is given up: no honest client has so many commands unanswered."""
MAX_CONTROL_BYTES = 8_388_608
"""The same in bytes: twenty snapshots of some thousand devices."""
GOODBYE_SECONDS = 2.0
"""What a client may take to read up to the close frame before the connection is cut."""
GOODBYE_LOOK_SECONDS = 0.05
"""How often it is looked whether it has."""

Frames = Sequence[tuple[str, bytes]]
"""Position frames in order, each with the id of its device."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as the authentication plugin vouches."""

    user: str
    """The user's id; connections are limited per user."""


class Connection:
    """One open WebSocket. Plugins read its attributes; only the core sends."""

    __slots__ = (
        "_control", "_control_bytes", "_lag", "_mailbox", "_taken_bytes", "_threshold", "_transport", "_ws",
        "address", "cookie", "goodbye", "identity", "topics", "why",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one argument for each fact of a connection
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        identity: Identity,
        cookie: str,
        address: str,
        threshold: int,
        lag: "Callable[[Connection], None]",
    ) -> None:
        self._ws = ws
        self._transport = transport
        self._threshold = threshold
        self._lag = lag
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._mailbox: dict[tuple[str, str], bytes] | None = None
        self._taken_bytes = 0
        self.identity = identity
        """Bound for the connection's lifetime."""
        self.cookie = cookie
        """The handshake's `Cookie` header, verbatim; for authorization calls, never for a log."""
        self.address = address
        """The client's, as the proxy reports it."""
        self.topics: set[str] = set()
        """The topics it is a member of; the hub's to change."""
        self.goodbye: asyncio.Task[None] | None = None
        """Closing it, once the server has decided to."""
        self.why: Disconnect | None = None
        """The reason for that."""

    @property
    def lagging(self) -> bool:
        """Whether it is behind, and served from its mailbox."""
        return self._mailbox is not None

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return not (self._ws.closed or self._transport.is_closing())

    def send(self, payload: bytes) -> None:
        """Send a control message (JSON): it is never dropped, and keeps its order (G5)."""
        frame = text_frame(payload)
        if not self.open:
            return
        if self._keeps_up():
            self._transport.write(frame)
            return
        self._control.append(frame)
        self._control_bytes += len(frame)
        if len(self._control) > MAX_CONTROL_MESSAGES or self._control_bytes > MAX_CONTROL_BYTES:
            self.close(Disconnect.SLOW)

    def deliver(self, topic: str, joined: bytes, frames: Frames) -> int:
        """Send the positions of one flush of `topic`, `frames`, of which `joined` is all; return how many went out."""
        if not self.open:
            return 0
        if self._keeps_up():
            self._transport.write(joined)
            return len(frames)
        mailbox = self._mailbox
        assert mailbox is not None  # noqa: S101 - not keeping up is having a mailbox
        before = len(mailbox)
        mailbox.update(((topic, device_id), frame) for device_id, frame in frames)
        metrics.CONFLATED.inc(before + len(frames) - len(mailbox))
        return 0

    def _keeps_up(self) -> bool:
        if self._mailbox is not None:
            return False
        if self._transport.get_write_buffer_size() <= self._threshold:
            return True
        self._mailbox = {}
        self._lag(self)
        return False

    def forget(self, topic: str) -> None:
        """Take the positions of `topic` out of the mailbox: they belong to a subscription that is over (G1, G2)."""
        if self._mailbox:
            for key in [key for key in self._mailbox if key[0] == topic]:
                del self._mailbox[key]

    def drain(self) -> bool:
        """Hand out what waits, as far as the transport has room, in one write; return whether it has caught up.

        Control messages go first: a `subscribed` precedes the positions of its topic, and the mailbox holds none of a
        subscription that an `unsubscribed` ended.
        """
        mailbox = self._mailbox
        if mailbox is None or not self.open:
            return True
        room = self._threshold - self._transport.get_write_buffer_size()
        if room < self._threshold // 2:
            return False  # wait until it is worth a write
        taken: list[bytes] = []
        while self._control and room > 0:
            frame = self._control.popleft()
            self._control_bytes -= len(frame)
            room -= len(frame)
            taken.append(frame)
        while mailbox and room > 0:
            frame = mailbox.pop(next(iter(mailbox)))
            metrics.DELIVERIES.inc()
            room -= len(frame)
            taken.append(frame)
        if taken:
            joined = b"".join(taken)
            self._taken_bytes += len(joined)
            self._transport.write(joined)
        if self._control or mailbox:
            return False
        self._mailbox = None
        return True

    @property
    def acknowledged_bytes(self) -> int:
        """What the client has taken, counted from an arbitrary point; while it lags, growth means that it reads."""
        return self._taken_bytes - unsent_bytes(self._transport)

    def close(self, why: Disconnect) -> None:
        """Send what control messages wait and a close frame; cut the connection if the client does not read them."""
        if self.goodbye is None:
            self.why = why
            self.goodbye = asyncio.create_task(self._say_goodbye(why))

    async def _say_goodbye(self, why: Disconnect) -> None:
        if self._control and self.open:
            self._transport.write(b"".join(self._control))
            self._control.clear()
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._ws.close(code=why.code, message=why.reason.encode())
                while self._transport.get_write_buffer_size():  # noqa: ASYNC110 - aiohttp waits for less, and has no event
                    await asyncio.sleep(GOODBYE_LOOK_SECONDS)
        except TimeoutError:
            pass
        finally:  # also when it is cancelled
            self.cut()

    def cut(self) -> None:
        """Drop the connection at once if anything is still on its way: nobody will read it."""
        if self._transport.get_write_buffer_size():
            abort_now(self._transport)
