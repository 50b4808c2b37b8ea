"""What can somebody say who uses no WebSocket library, and reads only when he likes?"""

import asyncio
import os
import socket
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.parser import Parser

from tests.core.wire import CLOSE, FIN, TAIL, Frame, first_frame
from tests.running import EVENTUALLY_SECONDS

CONTINUATION, TEXT, BINARY, PING, PONG = 0x0, 0x1, 0x2, 0x9, 0xA
MASKED = 0x80
DEFLATE = "permessage-deflate"
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
PHONE_BUFFER_BYTES, PHONE_SEGMENT_BYTES = 4_096, 536
"""Of a client that reads little: what it does not read shows on the server soon, and what it reads, too."""


def frame(
    opcode: int, payload: bytes = b"", *, flags: int = FIN, masked: bool = True, size: int | None = None
) -> bytes:
    """Return one frame of a client (RFC 6455 §5.2); it may claim another `size` than its payload has."""
    size = len(payload) if size is None else size
    mask_bit = MASKED if masked else 0
    if size < 126:
        length = bytes([mask_bit | size])
    elif size < 65_536:
        length = bytes([mask_bit | 126]) + size.to_bytes(2)
    else:
        length = bytes([mask_bit | 127]) + size.to_bytes(8)
    if not masked:
        return bytes([flags | opcode]) + length + payload
    mask = os.urandom(4)
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    hidden = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(len(payload))
    return bytes([flags | opcode]) + length + mask + hidden


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a client's close frame, whatever the code."""
    return frame(CLOSE, code.to_bytes(2) + reason)


def deflated(message: bytes, *, level: int = 9, window_bits: int = 15) -> bytes:
    """Return a message compressed as RFC 7692 §7.2.1 has it, with a window of its own."""
    compressor = zlib.compressobj(level, wbits=-window_bits)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


@dataclass
class Stranger:
    """A bare TCP connection to the service."""

    sock: socket.socket
    gone: bool = False
    """Whether the server has hung up."""
    head: str = ""
    """Status line and headers of the last answer to a request."""
    _unread: bytes = b""

    async def send(self, *data: bytes) -> None:
        """Send bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(data))

    async def read(self, most: int = 65_536) -> bytes:
        """Return what has come, at most so many bytes, empty when the server has hung up."""
        try:
            async with asyncio.timeout(EVENTUALLY_SECONDS):
                data = await asyncio.get_running_loop().sock_recv(self.sock, most)
        except ConnectionResetError:
            data = b""
        self.gone = not data
        return data

    async def request(self, *lines: str | bytes) -> int:
        """Send the lines of a request, joined as HTTP has it, and return the status of the answer."""
        head = b"\r\n".join(line if isinstance(line, bytes) else line.encode("latin-1") for line in lines)
        await self.send(head + b"\r\n\r\n")
        while b"\r\n\r\n" not in self._unread:
            self._unread += await self.read()
            assert not self.gone, "every request has an answer"
        answer, _, self._unread = self._unread.partition(b"\r\n\r\n")
        self.head = answer.decode("latin-1")
        return int(self.head.split()[1])

    def header(self, name: str) -> str:
        """Return a header of the last answer, empty when there is none."""
        return Parser().parsestr(self.head.partition("\r\n")[2], headersonly=True).get(name, "")

    async def upgrade(self, *headers: str, path: str = "/ws-live") -> int:
        """Ask for a WebSocket, with more headers, and return the status of the answer."""
        return await self.request(f"GET {path} HTTP/1.1", "Host: live.rally.al", *UPGRADE, *headers)

    async def rest(self) -> bytes:
        """Read to the end, and return what has come."""
        while data := await self.read():
            self._unread += data
        return self._unread

    async def trickle(self, most: int) -> None:
        """Read at most so many bytes; what they are is received later."""
        self._unread += await self.read(most)

    async def receive(self) -> Frame | None:
        """Return the next frame, None when the server has hung up."""
        while True:
            found, self._unread = first_frame(self._unread)
            if found is not None:
                return found
            self._unread += await self.read()
            if self.gone:
                return None

    async def farewell(self) -> int:
        """Return the code of the server's goodbye, which is the next and last that it says; hang up at it."""
        said = await self.receive()
        assert said is not None
        assert said.opcode == CLOSE
        with suppress(OSError):  # the server may have hung up first
            self.sock.shutdown(socket.SHUT_WR)
        assert await self.receive() is None
        return int.from_bytes(said.payload[:2])


@asynccontextmanager
async def strangers(port: int, count: int = 1, *, phones: bool = False) -> AsyncIterator[list[Stranger]]:
    """Open so many connections, with the small buffers and segments of phones if wished; they are cut in the end."""
    opened: list[Stranger] = []
    try:
        for _ in range(count):
            opened.append(Stranger(sock := socket.socket()))
            sock.setblocking(False)
            if phones:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PHONE_BUFFER_BYTES)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, PHONE_SEGMENT_BYTES)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        yield opened
    finally:
        for stranger in opened:
            stranger.sock.close()


def in_pieces(message: bytes, size: int, *, flags: int = 0) -> Iterable[bytes]:
    """Return a text message in fragments of `size` bytes; the first one has `flags`."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    for number, piece in enumerate(pieces):
        last = FIN if number == len(pieces) - 1 else 0
        yield frame(CONTINUATION if number else TEXT, piece, flags=last | (0 if number else flags))
