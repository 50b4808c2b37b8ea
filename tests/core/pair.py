"""What does a kernel make of what is sent? Two ends of one TCP connection over the loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.core.stranger import PHONE_BUFFER_BYTES, PHONE_SEGMENT_BYTES


class Pair(NamedTuple):
    """The server's transport, and the client's socket, which does not block."""

    transport: asyncio.Transport
    client: socket.socket

    async def received(self, size: int) -> int:
        """Let the client read so many bytes, as they come, and return how many there were until the end."""
        total = 0
        while total < size and (data := await asyncio.get_running_loop().sock_recv(self.client, size - total)):
            total += len(data)
        return total


@asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    """Connect a client that has little room of its own."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PHONE_BUFFER_BYTES)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, PHONE_SEGMENT_BYTES)
        client.connect(listener.getsockname())
        client.setblocking(False)
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, listener.accept()[0])
        yield Pair(transport, client)
        transport.abort()
        await asyncio.sleep(0)
