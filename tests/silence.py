"""How does a network fall silent, without a word to either end?

A filter that drops everything, in the kernel, below TCP: what comes to the socket is neither acknowledged nor refused,
as if it had been lost on its way; at a listening socket that is every attempt to connect. It takes no privileges.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ATTACH_FILTER, DETACH_FILTER = 26, 27
"""Of Linux (SO_ATTACH_FILTER, SO_DETACH_FILTER); Python has no names for them."""
TIME_WAIT, LISTEN = "06", "0A"
"""States in /proc/net/tcp."""
_RETURN_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)
"""A filter of one instruction: keep no byte of any packet."""


def fall_silent(sock: socket.socket) -> None:
    """Let nothing come through to `sock` any more."""
    program = struct.pack("HP", 1, ctypes.addressof(_RETURN_NOTHING))
    sock.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)


def come_back(sock: socket.socket) -> None:
    """Let everything come through to `sock` again, the last attempts of those who have not given up first."""
    sock.setsockopt(socket.SOL_SOCKET, DETACH_FILTER, 0)


@contextmanager
def silent(*socks: socket.socket) -> Iterator[None]:
    """Let nothing come through to any of them for as long as this lasts."""
    for sock in socks:
        fall_silent(sock)
    yield
    for sock in socks:
        if sock.fileno() >= 0:  # else somebody has given up
            come_back(sock)


class Kept(NamedTuple):
    """What the kernel keeps of one TCP connection, whether or not a process still has it."""

    port: int
    """Of the other end."""
    unsent_bytes: int
    """What that has not acknowledged."""


def kept_by_the_kernel(port: int) -> list[Kept]:
    """Return the connections of a port of 127.0.0.1 that are not over, of whatever process; TIME_WAIT holds nothing."""
    kept = []
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, here, there, state, queues, *_ = line.split()
        if int(here.partition(":")[2], 16) == port and state not in {TIME_WAIT, LISTEN}:
            kept.append(Kept(int(there.partition(":")[2], 16), int(queues.partition(":")[0], 16)))
    return kept
