"""What lies between the service and a server, when that is not a wire?"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from socket import socket
from ssl import SSLContext

from tests.silence import silent

CHUNK_BYTES = 16_384


@dataclass
class Link:
    """A way to a server of this machine, as a proxy, a bad line or an address that moves is one."""

    target: int
    """The server's port. Another one is for new connections; those that are open stay where they are."""
    bytes_per_second: float = float("inf")
    """How fast answers come through."""
    bytes_left: float = float("inf")
    """So many bytes of answers still come through; then it hangs up in the middle of one, once."""
    tells_the_server: bool = True
    """Whether the server learns that a client is gone."""
    port: int = 0
    """Where it begins."""
    connections: int = 0
    """How many there have been."""
    _listeners: Sequence[socket] = ()
    _carried: dict[asyncio.Task[None], StreamWriter] = field(default_factory=dict)

    def cut(self) -> None:
        """Hang up on all clients."""
        for client in self._carried.values():
            client.transport.abort()

    @contextmanager
    def silent(self, *, to_newcomers: bool) -> Iterator[None]:
        """Lose what those say who are connected, as a firewall does that has forgotten them; or what anybody says."""
        connected = [client.get_extra_info("socket") for client in self._carried.values()]
        with silent(*connected, *(self._listeners if to_newcomers else ())):
            yield

    async def carry(self, questions: StreamReader, client: StreamWriter) -> None:
        """Connect a client with the server until the server hangs up."""
        task = asyncio.current_task()
        assert task is not None
        self._carried[task] = client
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(client):
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
            asking = asyncio.create_task(self._ask(questions, server))
            try:
                with contextlib.closing(server):
                    await self._answer(answers, client)
            finally:
                asking.cancel()
                await asyncio.wait([asking])
        del self._carried[task]

    async def _ask(self, questions: StreamReader, server: StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await questions.read(CHUNK_BYTES):
                server.write(data)
        if self.tells_the_server:
            server.close()

    async def _answer(self, answers: StreamReader, client: StreamWriter) -> None:
        while data := await answers.read(CHUNK_BYTES):
            if len(data) > self.bytes_left:
                client.write(data[: int(self.bytes_left)])
                self.bytes_left = float("inf")
                return
            self.bytes_left -= len(data)
            if not client.is_closing():
                client.write(data)
            await asyncio.sleep(len(data) / self.bytes_per_second)

    async def close(self) -> None:
        """Hang up on everybody."""
        for task in list(self._carried):
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def link_to(port: int, tls: SSLContext | None = None) -> AsyncIterator[Link]:
    """Lay a link to a port of 127.0.0.1; with `tls` it is encrypted up to there."""
    link = Link(port)
    async with await asyncio.start_server(link.carry, "127.0.0.1", 0, ssl=tls) as server:
        link._listeners = server.sockets
        link.port = server.sockets[0].getsockname()[1]
        try:
            yield link
        finally:
            await link.close()
