"""How many connections can there be? Each is an open file, and the system allows a process only so many."""

import resource
from contextlib import suppress
from resource import RLIM_INFINITY, RLIMIT_NOFILE

OWN_FILES = 128
"""Kept from the viewers: for the stores, Directus, health, and handshakes that are refused."""
HEADROOM = 16
"""Kept from everybody: for letting somebody in to say that there is no room."""


def room_for(connections: int) -> int:
    """Return how many connections there can be, at most so many, having raised the process's limit as far as needed."""
    soft, hard = resource.getrlimit(RLIMIT_NOFILE)
    if soft == RLIM_INFINITY:
        return connections
    files = max(soft, connections + OWN_FILES)
    if hard != RLIM_INFINITY:
        files = min(files, hard - HEADROOM)
    with suppress(OSError, ValueError):  # a system that calls unlimited what is not
        resource.setrlimit(RLIMIT_NOFILE, (files, hard))
        soft = files
    return max(min(connections, soft - OWN_FILES), 1)


class Headroom:
    """Some more files than the process may open, for a moment."""

    def __init__(self) -> None:
        self._limits: tuple[int, int] | None = None
        """To go back to, while it is open."""

    def open(self) -> None:
        """Allow some more."""
        if self._limits is None:
            self._limits = soft, hard = resource.getrlimit(RLIMIT_NOFILE)
            more = soft + HEADROOM
            resource.setrlimit(RLIMIT_NOFILE, (more if hard == RLIM_INFINITY else min(more, hard), hard))

    def close(self) -> None:
        """Allow as many as before; those that are open already stay open."""
        if self._limits is not None:
            resource.setrlimit(RLIMIT_NOFILE, self._limits)
            self._limits = None
