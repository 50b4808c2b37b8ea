"""What does somebody see who connects, follows topics, reads as he likes, and comes back? (docs/contract.md §5)"""

import asyncio
import json
import zlib
from collections import defaultdict

from processor_live import connection as limits
from processor_live.protocol import Disconnect
from tests.core.database import Database
from tests.core.expectation import Expectation
from tests.core.service import SLOW_SECONDS, Service
from tests.core.stranger import frame
from tests.core.wire import CLOSE, CLOSED, TAIL, TEXT, Client, Frame, Message, frames

RATE_LIMITED = "rate-limited"
REFUSED = {"forbidden", "not-found"}
"""The errors that end a subscription that was held."""


class Spectator:
    """Somebody with a map, who remembers it when the connection is gone, and checks everything that he is told."""

    def __init__(self, database: Database, *, inflates: bool, threshold: int) -> None:
        self.client: Client | None = None
        self.held: dict[str, dict[str, int]] = {}
        """The topics that he follows, each with the `ts` shown last of its devices."""
        self._database = database
        self._inflates, self._threshold = inflates, threshold
        self._known: dict[tuple[str, str], int] = {}
        """The `ts` of each topic's devices that he has ever been shown last."""
        self._promised: defaultdict[str, list[Expectation]] = defaultdict(list)
        self._expected: dict[str, Expectation] = {}
        self._read_at = 0.0
        """When he has read something last, or was not behind (loop time)."""
        self._given_up = self._has_left = False
        """Whether the service has done with him, and he with it."""
        self._said: list[str] = []
        self._answered: list[str] = []
        """The ids of his commands on this connection, and of their answers."""
        self._sent: list[bytes] = []
        """What is on its way to the service."""
        self._rest = b""
        self._parsed = 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    # What he may do.

    def come(self, service: Service) -> None:
        """Connect."""
        if self.client is None and service.welcoming:
            self.client = service.enter(inflates=self._inflates, threshold=self._threshold)
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            self._rest, self._parsed = b"", 0
            self._given_up = self._has_left = False
            for memory in (self.held, self._promised, self._expected, self._said, self._answered, self._sent):
                memory.clear()

    def say(self, kind: str, topic: str) -> None:
        """Send a command."""
        if self.client is not None and self.client.socket.open:
            self._said.append(str(len(self._said)))
            command = {"type": kind, "topic": topic, "id": self._said[-1]}
            self._sent.append(frame(TEXT, json.dumps(command).encode()))

    def stall(self) -> None:
        """Read nothing from now on."""
        if self.client is not None:
            self.client.transport.stall()

    def read(self, size: int) -> None:
        """Read so many bytes and then nothing."""
        if self.client is not None:
            if self.client.transport.get_write_buffer_size():
                self._read_at = asyncio.get_running_loop().time()
            self.client.transport.read(size)

    def read_all(self) -> None:
        """Read everything, now and from now on."""
        if self.client is not None:
            self._read_at = asyncio.get_running_loop().time()
            self.client.transport.read_all()

    def hang_up(self, *, politely: bool) -> None:
        """Close the window, or lose the network."""
        if self.client is not None and not self.client.transport.is_closing():
            if politely:
                self._has_left = True
                self._sent.append(CLOSED)
            else:
                self.client.transport.abort()

    # What he is told.

    def will_be_shown(self, topic: str, expected: Expectation) -> None:
        """Note what his next subscription to a topic must show."""
        self._promised[topic].append(expected)

    @property
    def waits(self) -> bool:
        """Whether he is owed an answer."""
        return self.client is not None and len(self._answered) < len(self._said)

    def look(self) -> None:
        """Take what has come, answer a goodbye, and be gone when the connection is."""
        client = self.client
        if client is None:
            return
        self._check_patience(client)
        while self._sent and not client.transport.paused and not client.transport.is_closing():
            client.socket.data_received(self._sent.pop(0))
        for frame_ in self._news(client):
            if frame_.opcode == CLOSE:
                assert self._has_left or not any(self._promised.values()), "G5: answers come before the goodbye"
                self._sent.append(CLOSED)
            else:
                self._take(self._message(frame_))
        transport = client.transport
        if transport.aborted or (transport.is_closing() and not transport.get_write_buffer_size()):
            self.client = None

    def _check_patience(self, client: Client) -> None:
        """Who reads nothing is given up after a while; nobody else is, but who leaves too many answers unread."""
        now, connection = asyncio.get_running_loop().time(), client.connection
        if connection.lagging and connection.closing is None:
            assert now - self._read_at <= 3 * SLOW_SECONDS, "he is waited for in vain"
        elif connection.closing is Disconnect.SLOW and not self._given_up:
            self._given_up = True
            unread = len(self._said) - len(self._answered)
            patient = now - self._read_at > SLOW_SECONDS or self._read_at == now  # he reads, but too late
            assert patient or unread > limits.MAX_CONTROL_MESSAGES, "he is given up though he reads"
        if not connection.lagging or not client.transport.get_write_buffer_size():
            self._read_at = now

    def _news(self, client: Client) -> list[Frame]:
        received = client.transport.received
        complete, self._rest = frames(self._rest + received[self._parsed :])
        self._parsed = len(received)
        return complete

    def _message(self, frame_: Frame) -> Message:
        payload = self._inflate.decompress(frame_.payload + TAIL) if frame_.compressed else frame_.payload
        message: Message = json.loads(payload)
        return message

    def _take(self, message: Message) -> None:
        topic = message["topic"]
        match message["type"]:
            case "position":
                self._move(topic, message["deviceId"], message["ts"])
                return
            case "subscribed":
                self._show(topic, {entry["deviceId"]: entry["ts"] for entry in message["snapshot"]})
                assert len(self.held[topic]) == len(message["snapshot"]), "one entry per device"
            case "unsubscribed":
                self.held.pop(topic, None)
            case "error" if message["code"] in REFUSED:
                self.held.pop(topic, None)
        if message.get("code") == RATE_LIMITED:  # it may overtake other answers
            self._said.remove(message["id"])
        else:
            self._answered.append(message["id"])
            assert self._answered == self._said[: len(self._answered)], "G5: every answer, in order"

    def _show(self, topic: str, shown: dict[str, int]) -> None:
        expected = self._expected[topic] = self._promised[topic].pop(0)
        expected.check(shown)
        for (known_topic, device), ts in self._known.items():
            if known_topic == topic and device in expected.stored and device not in self._database.ever_flagged:
                assert shown.get(device, 0) >= ts, "G2: no snapshot is older than what he has seen, ever"
        self.held[topic] = shown
        self._known.update({(topic, device): ts for device, ts in shown.items()})

    def _move(self, topic: str, device: str, ts: int) -> None:
        assert topic in self.held, "G1: positions only between subscribed and unsubscribed"
        assert ts > self.held[topic].get(device, 0), "G2: ts strictly increases"
        assert self._expected[topic].admits(device, ts), "an operator has flagged it, or something newer"
        self.held[topic][device] = self._known[topic, device] = ts
