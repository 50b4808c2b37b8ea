"""What stands in for the network: a client whose reading is in the hands of the test."""

import asyncio
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from prometheus_client import REGISTRY

from processor_live.backlog import Newest
from processor_live.batch import Batch
from processor_live.connection import Connection, Identity
from processor_live.frame_reader import FrameReader
from processor_live.framing import position_entry, position_message, position_prefix
from processor_live.position import Position
from processor_live.websocket import WebSocket

Message = dict[str, Any]
TEXT, CLOSE = 0x1, 0x8
FIN, RSV1 = 0x80, 0x40
CLOSED = b"\x88\x80\0\0\0\0"
"""A client's close frame, masked with zeros."""
TAIL = b"\0\0\xff\xff"
"""What ends a flush and is not sent (RFC 7692 §7.2.1)."""


class Frame(NamedTuple):
    """One frame as RFC 6455 §5.2 has it: final and unmasked."""

    opcode: int
    payload: bytes
    compressed: bool
    """Whether its first reserved bit is set (RFC 7692 §6)."""


def first_frame(data: bytes) -> tuple[Frame | None, bytes]:
    """Return the frame at the beginning of `data`, None when it is not complete yet, and what is left."""
    if len(data) < 2:
        return None, data
    first, length = data[0], data[1]
    assert first & ~0xF in {FIN, FIN | RSV1}, "a frame is final and has no reserved bits but the first"
    assert length < FIN, "a server does not mask (RFC 6455 §5.1)"
    extended = {126: 2, 127: 8}.get(length, 0)
    begin = 2 + extended
    if len(data) < begin:
        return None, data
    size = int.from_bytes(data[2:begin]) if extended else length
    if len(data) < begin + size:
        return None, data
    return Frame(first & 0xF, data[begin : begin + size], bool(first & RSV1)), data[begin + size :]


def frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the complete frames at the beginning of `data`, and what is left."""
    complete: list[Frame] = []
    while True:
        found, data = first_frame(data)
        if found is None:
            return complete, data
        complete.append(found)


class Transport(asyncio.Transport):
    """A transport to a client that reads everything at once, or only what the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self._protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self.aborted = False
        self.paused = False
        self.wrote = asyncio.Event()
        self._closing = False
        self._written = bytearray()
        self._read_bytes = 0
        self._reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._closing, "nothing is written to a transport that is closed"
        self._written += data
        if self._reading:
            self._read_bytes = len(self._written)
        self.wrote.set()

    def get_write_buffer_size(self) -> int:
        return len(self._written) - self._read_bytes

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def pause_reading(self) -> None:
        """Have the test not feed any more."""
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self._closing = True
        self._end_if_read()

    def abort(self) -> None:
        self.aborted = self._closing = True
        self._protocol.connection_lost(None)

    def _end_if_read(self) -> None:
        if self._closing and not self.aborted and not self.get_write_buffer_size():
            self._protocol.connection_lost(None)

    def stall(self) -> None:
        """Let the client read nothing from now on."""
        self._reading = False

    def read(self, size: int) -> None:
        """Let the client read so many bytes more, and then no further."""
        self._reading = False
        self._read_bytes = min(self._read_bytes + size, len(self._written))
        self._end_if_read()

    def read_all(self) -> None:
        """Let the client read everything, now and from now on."""
        self._reading = True
        self._read_bytes = len(self._written)
        self._end_if_read()

    @property
    def received(self) -> bytes:
        """What the client has read."""
        return bytes(self._written[: self._read_bytes])

    @property
    def written(self) -> bytes:
        """What the server has sent."""
        return bytes(self._written)


class Client:
    """A client and the server's `Connection` to it."""

    def __init__(
        self,
        *,
        threshold: int = 65_536,
        user: str = "ana",
        lag: Callable[[Connection], None] | None = None,
        inflates: bool = False,
    ) -> None:
        self.transport = Transport()
        self.socket = WebSocket(self.transport, FrameReader(4_096, inflates=inflates), ping_interval_s=3_600)
        self.transport.set_protocol(self.socket)
        self.answers = True
        """Whether it answers a close frame when it has read it."""
        self.lagged: list[Connection] = []
        """The connection, as often as it said that it lags."""
        self.newest: defaultdict[str, Newest] = defaultdict(Newest)
        """What its topics would hold for those who are behind."""
        self.connection = Connection(
            self.socket,
            identity=Identity(user),
            cookie="session=1",
            address="192.0.2.7",
            inflates=inflates,
            threshold=threshold,
            lag=lag or self.lagged.append,
        )

    def deliver(self, topic: str, *positions: tuple[str, int]) -> int:
        """Let a topic be flushed to it: device and `ts` of each position. Return how many went out at once."""
        newest, prefix = self.newest[topic], position_prefix(topic)
        after = newest.published
        messages = [position_message(prefix, position_entry(Position(id_, 41.5, 19.5, ts))) for id_, ts in positions]
        for (device_id, _), message in zip(positions, messages, strict=True):
            newest.add(device_id, message)
        return self.connection.deliver(Batch(topic, messages, after=after, newest=newest, stream=None))

    @property
    def messages(self) -> list[Message]:
        """The messages that the client has read, in order."""
        inflate = zlib.decompressobj(-zlib.MAX_WBITS).decompress
        texts = (frame for frame in self.frames if frame.opcode == TEXT)
        return [json.loads(inflate(text.payload + TAIL) if text.compressed else text.payload) for text in texts]

    @property
    def frames(self) -> list[Frame]:
        """All frames that the client has read."""
        return frames(self.transport.received)[0]

    @property
    def close_code(self) -> int | None:
        """The code of the server's close frame, which must be the last of all; None when there is none."""
        codes = [int.from_bytes(frame.payload[:2]) for frame in self.frames if frame.opcode == CLOSE]
        assert not codes or self.frames[-1].opcode == CLOSE
        assert len(codes) <= 1
        return codes[0] if codes else None

    async def goodbye(self) -> int | None:
        """Read to the end of a connection that is being closed, and return the close code."""
        assert self.connection.closing is not None
        saying = asyncio.create_task(self.connection.say_goodbye())
        await until(lambda: not self.socket.open)
        self.transport.read_all()
        if self.answers:
            self.socket.data_received(CLOSED)
        await saying
        assert not self.transport.aborted
        return self.close_code

    def positions(self, topic: str) -> list[tuple[str, int]]:
        """Return device and `ts` of the positions read, of one topic."""
        mine = (each for each in self.messages if each["type"] == "position" and each["topic"] == topic)
        return [(each["deviceId"], each["ts"]) for each in mine]


def metric(name: str, **labels: str) -> float:
    """Return what a metric says now."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition()` holds; the test's timeout ends it otherwise."""
    while not condition():  # noqa: ASYNC110 - there is no event for what a client has read
        await asyncio.sleep(0)


async def turns_of(work: Coroutine[None, None, None]) -> int:
    """Return how many turns of the event loop something takes."""
    task, turns = asyncio.create_task(work), 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns
