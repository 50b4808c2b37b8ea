"""How does a process get the live port, for itself or for several that share it?

They share it with `SO_REUSEPORT`, as may whoever runs as the same user: a second service that asked for that at once
would quietly be given half of the first one's viewers.
"""

import socket
from dataclasses import replace

from processor_live.failure import cannot_listen
from processor_live.settings import Settings

BACKLOG = 4_096
"""Handshakes that may wait to be accepted: a restart brings every spectator at once."""


def alone(settings: Settings) -> socket.socket:
    """Return a socket that listens on the live port, and shares it with nobody. Raise `StartError` when it is taken."""
    host, port = settings.ws_host, settings.ws_port
    try:
        return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    except OSError as error:
        raise cannot_listen("LIVE_WS", host, port, error) from None


def reserved(settings: Settings) -> socket.socket:
    """Return a socket that keeps the live port for workers of this process. Raise `StartError` when it is taken.

    First it listens, alone: of two services that start in the same moment, the kernel lets one. Then it stops, for the
    connections are the workers', but stays bound: also while no worker lives, the port is for nobody else.
    """
    sock = alone(settings)
    if not settings.ws_port:  # one that the kernel chose would be anybody's when nobody listens any more
        with sock:
            settings = replace(settings, ws_port=sock.getsockname()[1])
        sock = alone(settings)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.shutdown(socket.SHUT_RD)
    return sock


def shared(settings: Settings) -> socket.socket:
    """Return a worker's socket on the port that its parent has `reserved`. Raise `StartError` when it is taken."""
    host, port = settings.ws_host, settings.ws_port
    sock = socket.socket(_family(host))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise cannot_listen("LIVE_WS", host, port, error) from None
    return sock


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
