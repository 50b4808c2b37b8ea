"""What is on its way to one client?

A client that keeps up is written to directly. One whose transport holds more than the threshold is *lagging*: its
control messages queue in order, of the positions it only remembers which it has missed, and `drain` hands out both, the
positions only as far as they are still news, as the transport takes them (docs/contract.md §5 G4, G5).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from processor_live import metrics
from processor_live.backlog import Backlog
from processor_live.batch import Batch
from processor_live.deflate import OUT_OF_STEP
from processor_live.framing import text_frame
from processor_live.kernel import abort_now, close_soon, unsent_bytes
from processor_live.protocol import Disconnect
from processor_live.websocket import WebSocket

MAX_CONTROL_MESSAGES = 256
"""Queued for a lagging client before it is given up: no honest client has so many commands unanswered."""
MAX_CONTROL_BYTES = 8_388_608
"""The same in bytes: twenty snapshots of some thousand devices."""
GOODBYE_SECONDS = 2.0
"""What a client may take to read up to the close frame before the connection is cut."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as the authentication plugin vouches."""

    user: str
    """The user's id; connections are limited per user."""


class Connection:
    """One open WebSocket. Plugins read its attributes; only the core sends."""

    __slots__ = (
        "_control",
        "_control_bytes",
        "_inflated",
        "_inflates",
        "_lag",
        "_missed",
        "_taken_bytes",
        "_threshold",
        "_transport",
        "_ws",
        "address",
        "closing",
        "cookie",
        "identity",
        "topics",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one argument for each fact of a connection
        self,
        ws: WebSocket,
        *,
        identity: Identity,
        cookie: str,
        address: str,
        inflates: bool,
        threshold: int,
        lag: "Callable[[Connection], None]",
    ) -> None:
        self._ws = ws
        self._transport = ws.transport
        self._threshold = threshold
        self._lag = lag
        self._control: list[bytes] = []  # a deque would take 760 bytes of every idle connection
        self._control_bytes = 0
        self._missed: dict[str, Backlog] | None = None
        """By topic, while it is behind; the one that is to be served next comes first."""
        self._taken_bytes = 0
        self._inflates = inflates
        self._inflated = OUT_OF_STEP
        """The compressed batch it had last."""
        self.identity = identity
        """Bound for the connection's lifetime."""
        self.cookie = cookie
        """The handshake's `Cookie` header, verbatim; for authorization calls, never for a log."""
        self.address = address
        """The client's, as the proxy reports it."""
        self.topics: set[str] = set()
        """The topics it is a member of; the hub's to change."""
        self.closing: Disconnect | None = None
        """Why the server closes it, once it has decided to."""

    @property
    def lagging(self) -> bool:
        """Whether it is behind, and gets only what is still news when it reads."""
        return self._missed is not None

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return self._ws.open and not self._transport.is_closing()

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

    def deliver(self, batch: Batch) -> int:
        """Send the positions of one flush; return how many went out."""
        if not self.open:
            return 0
        if self._keeps_up():
            self._transport.write(self._encoded(batch) if self._inflates else batch.plain)
            return len(batch)
        assert self._missed is not None  # noqa: S101 - not keeping up is missing something
        backlog = self._missed.get(batch.topic)
        if backlog is None:
            self._missed[batch.topic] = Backlog(batch.newest, batch.after, batch.last)
        else:
            backlog.last = batch.last
        return 0

    def _encoded(self, batch: Batch) -> bytes:
        """Return the frames of `batch` in the smallest form that this client can decode now."""
        if batch.stream is None:
            return batch.plain
        if len(self.topics) > 1:
            self._inflated = OUT_OF_STEP
            return batch.alone
        steady = batch.steady
        if steady.decodable_after(self._inflated):
            self._inflated = steady.number
            return steady.frames
        batch.stream.restart()  # it has joined, or caught up, and can follow from the next batch on
        return batch.plain

    def _keeps_up(self) -> bool:
        if self._missed is not None:
            return False
        if self._transport.get_write_buffer_size() <= self._threshold:
            return True
        self._missed = {}
        self._lag(self)
        return False

    def forget(self, topic: str) -> None:
        """Do not send what it has missed of `topic`: it belongs to a subscription that is over (G1, G2)."""
        if self._missed is not None:
            self._missed.pop(topic, None)

    def drain(self) -> bool:
        """Hand out what waits, as far as the transport has room, in one write; return whether it has caught up.

        Control messages go first: a `subscribed` precedes the positions of its topic, and nothing is left of a
        subscription that an `unsubscribed` ended. Topics take turns.
        """
        if self._missed is None or not self.open:
            return True
        room = self._threshold - self._transport.get_write_buffer_size()
        if room < self._threshold // 2:
            return False  # wait until it is worth a write
        taken: list[bytes] = []
        while self._control and room > 0:
            frame = self._control.pop(0)
            self._control_bytes -= len(frame)
            room -= len(frame)
            taken.append(frame)
        for topic, backlog in list(self._missed.items()):
            if room <= 0:
                break
            frames, replaced = backlog.take(room)
            room -= sum(map(len, frames))
            taken += frames
            metrics.DELIVERIES.inc(len(frames))
            metrics.CONFLATED.inc(replaced)
            del self._missed[topic]
            if not backlog.empty:
                self._missed[topic] = backlog  # behind those that had nothing this time
        if taken:
            joined = b"".join(taken)
            self._taken_bytes += len(joined)
            self._transport.write(joined)
        if self._control or self._missed:
            return False
        self._missed = None
        return True

    @property
    def acknowledged_bytes(self) -> int:
        """What the client has taken, counted from an arbitrary point; while it lags, growth means that it reads."""
        return self._taken_bytes - self.unread_bytes

    @property
    def unread_bytes(self) -> int:
        """What is on its way to the client, in the process and in the kernel."""
        return unsent_bytes(self._transport)

    def close(self, why: Disconnect) -> None:
        """Have the connection closed: it takes no more commands, and says goodbye."""
        if self.closing is None:
            self.closing = why
            self._ws.stop()

    async def say_goodbye(self) -> None:
        """Send what control messages wait and a close frame; wait for the client's, then drop what is left."""
        try:
            if self.closing is not None and self.open:
                if self._control:
                    self._transport.write(b"".join(self._control))
                    self._control.clear()
                self._ws.close(self.closing)
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._ws.lost()
        finally:  # also when it is cancelled
            self.cut()

    def cut(self) -> None:
        """Drop the connection at once; what the process still holds for it, nobody will read."""
        if self._transport.get_write_buffer_size():
            abort_now(self._transport)
        else:
            close_soon(self._transport)
