"""What becomes of a crowd of viewers that comes back all at once? Each keeps its end as docs/contract.md §9 has it.

One viewer costs so little that thousands in one process are not what is measured: a protocol, no WebSocket library, and
of a position only its `ts` is read.
"""

import asyncio
import json
import random
from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.parser import Parser
from types import TracebackType
from typing import Any, Self

from tests.core.stranger import PING, PONG, TEXT, UPGRADE, frame
from tests.core.wire import first_frame
from tests.running import until

ANSWER_SECONDS, HANDSHAKE_SECONDS, BASE_SECONDS, CAP_SECONDS = 5.0, 10.0, 1.0, 30.0
"""Of docs/contract.md §9."""


class Socket(asyncio.Protocol):
    """One attempt of a viewer, and the WebSocket that it may become."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.head: Future[str] = loop.create_future()
        """Status line and headers."""
        self.answer: Future[dict[str, Any]] | None = None
        """To the last command."""
        self.lost: Future[None] = loop.create_future()
        self.seen: list[int] = []
        """The `ts` of all positions that came, those of the snapshot first."""
        self._open = False
        """Whether it is a WebSocket."""
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be told how to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Be told that nothing more will come."""
        for awaited in (self.head, self.answer):
            if awaited is not None and not awaited.done():
                awaited.set_exception(ConnectionResetError())
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        self._unread += data
        if not self.head.done():
            head, end, rest = self._unread.partition(b"\r\n\r\n")
            if not end:
                return
            self.head.set_result(head.decode())
            self._unread = rest
            self._open = head.startswith(b"HTTP/1.1 101 ")
        while self._open:
            received, self._unread = first_frame(self._unread)
            if received is None:
                return
            if received.opcode == PING:
                self.transport.write(frame(PONG, received.payload))
            elif received.opcode == TEXT:
                self._hear(json.loads(received.payload))

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "position":
            self.seen.append(message["ts"])
            return
        if message["type"] == "subscribed":
            self.seen = [entry["ts"] for entry in message["snapshot"]]
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(message)

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return its answer, however late."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(frame(TEXT, json.dumps(message).encode()))
        return await self.answer


@dataclass(frozen=True)
class Refusal:
    """A 503 at the handshake."""

    after_s: float
    retry_after_s: int


@dataclass
class Crowd:
    """Viewers who come back until they follow a topic, each with a session of their own."""

    port: int
    topic: str
    refusals: list[Refusal] = field(default_factory=list)
    undecided: int = 0
    """Subscribes that were answered with `error`."""
    unreachable: int = 0
    """Attempts to connect when nobody listened, and connections that broke before the topic was followed."""
    abandoned: int = 0
    """Handshakes that nobody answered in time."""
    answers_s: list[float] = field(default_factory=list)
    """How long each subscribe waited for its answer."""
    following: set[Socket] = field(default_factory=set)
    """Those who follow the topic now."""
    cut: int = 0
    """Those who followed it and lost their connection."""
    lag_s: float = 0.0
    """How late the crowd itself was, at most."""
    _group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _wanted: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._tasks.append(self._group.create_task(self._watch_the_clock()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)
        for socket in self.following:
            socket.transport.abort()

    def come(self, cookies: Sequence[str], within_s: float) -> None:
        """Let a viewer for each `Cookie` header come within so many seconds, to stay or to come back."""
        self._wanted += len(cookies)
        for cookie in cookies:
            self._tasks.append(self._group.create_task(self._stay(cookie, random.uniform(0, within_s))))

    async def all_in(self) -> None:
        """Wait until everybody follows the topic."""
        while len(self.following) < self._wanted:
            self._changed.clear()
            await self._changed.wait()

    async def all_see(self, ts: int) -> None:
        """Wait until everybody who follows the topic has seen a position as new as that."""
        await until(lambda: all(socket.seen[-1:] >= [ts] for socket in self.following))

    def forget(self) -> None:
        """Count anew."""
        self.refusals.clear()
        self.answers_s.clear()
        self.undecided = self.unreachable = self.abandoned = self.cut = 0
        self.lag_s = 0.0

    async def _watch_the_clock(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.05)
            self.lag_s = max(self.lag_s, loop.time() - before - 0.05)

    async def _stay(self, cookie: str, pause_s: float) -> None:
        failures = 0
        while True:
            await asyncio.sleep(pause_s)
            refusal = None
            try:
                entered = await self._enter(cookie)
                if isinstance(entered, Socket):
                    failures = 0
                    await self._follow(entered)
                else:
                    refusal = entered
                    self.refusals.append(refusal)
            except TimeoutError:
                self.abandoned += 1
            except OSError:
                self.unreachable += 1
            pause_s = refusal.retry_after_s if refusal else _jitter(failures)
            failures += 1

    async def _enter(self, cookie: str) -> Socket | Refusal:
        """Ask for a WebSocket."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            transport, socket = await loop.create_connection(Socket, "127.0.0.1", self.port)
            request = ("GET /ws-live HTTP/1.1", "Host: live.rally.al", *UPGRADE, f"Cookie: {cookie}", "", "")
            transport.write("\r\n".join(request).encode())
            try:
                head = await socket.head
            except BaseException:
                transport.abort()
                raise
        status = int(head.split()[1])
        if status == 101:
            return socket
        transport.abort()
        assert status == 503, head
        retry_after = Parser().parsestr(head.partition("\r\n")[2], headersonly=True)["Retry-After"]
        return Refusal(loop.time() - began, int(retry_after))

    async def _follow(self, socket: Socket) -> None:
        """Subscribe until that is granted, and watch until the connection is lost."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            answer = await socket.ask({"type": "subscribe", "topic": self.topic})
            self.answers_s.append(loop.time() - began)
            if answer["type"] == "subscribed":
                break
            assert answer["code"] == "error", answer
            self.undecided += 1
            await asyncio.sleep(_jitter(failures))
            failures += 1
        self.following.add(socket)
        self._changed.set()
        await socket.lost
        self.following.remove(socket)
        self.cut += 1


def _jitter(failures: int) -> float:
    return random.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2**failures))
