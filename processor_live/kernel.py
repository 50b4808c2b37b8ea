"""What of a connection hides in the kernel, below the process's own buffer?

Unbounded, a kernel takes megabytes for a client that does not read, and all of it is stale when it is read at last
(docs/contract.md §5 G4 allows about 128 KB).
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

SEND_BUFFER_BYTES = 65_536
"""Linux doubles it for its own bookkeeping: 128 KB at most."""
NOT_SENT_BYTES = 16_384
"""What may wait in the send buffer, not yet on the wire."""
LAST_WORDS_MS = 5_000
"""What a peer may take to acknowledge the last of a closed connection: else Linux tries for two minutes, for 128 KB."""
_BYTES_ACKED = struct.Struct("120xQ")
"""Where Linux (4.1 and later) has it in its `struct tcp_info`."""


def bound_send_buffer(transport: asyncio.Transport) -> None:
    """Let the kernel hold little of what `transport` sends."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family == getattr(socket, "AF_UNIX", None):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    with contextlib.suppress(AttributeError, OSError):  # the option is Linux's and macOS's
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Return what the peer has not acknowledged yet: the process's buffer and, where the system tells, the kernel's."""
    return transport.get_write_buffer_size() + _kernel_queue_bytes(transport)


def _kernel_queue_bytes(transport: asyncio.Transport) -> int:
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or transport.is_closing():
        return 0
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    except OSError:
        return 0
    return int(queued)


class Mark:
    """The end of what has been sent to a peer so far: has it been taken up to there, or how far?"""

    __slots__ = ("_at", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._at = unsent_bytes(transport) + self.taken_bytes

    @property
    def taken_bytes(self) -> int:
        """What the peer has acknowledged, counted from an arbitrary point; 0 where the system does not tell."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is None:
            return 0
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
            (acked,) = _BYTES_ACKED.unpack(info)
        except (AttributeError, OSError, struct.error):  # the option is Linux's; or it is gone already
            return 0
        return int(acked)

    @property
    def passed(self) -> bool:
        """Whether the peer has acknowledged all up to here; where the system does not tell, it never has."""
        return self.taken_bytes >= self._at


def close_soon(transport: asyncio.Transport) -> None:
    """Close the connection when all has been sent; who reads slowly gets it all, who is not there costs little."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
        with contextlib.suppress(AttributeError, OSError):  # the option is Linux's; or it is gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LAST_WORDS_MS)
    transport.close()


def abort_now(transport: asyncio.Transport) -> None:
    """Drop the connection and what is queued for it, in the kernel too, which else keeps it until a timeout."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # already gone
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
