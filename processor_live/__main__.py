"""How is the service started by hand? `processor-live serve`, `processor-live check`."""

import argparse
import logging
import os
import socket
from collections.abc import Sequence

from aiohttp import web

from processor_live.app import init, make_app
from processor_live.failure import cannot_listen
from processor_live.settings import SETTINGS, Settings

log = logging.getLogger(__name__)

INTERRUPTED = 130
"""128 and the number of the signal, as shells have it."""
BACKLOG = 4_096
"""Handshakes that may wait to be accepted: a restart brings every spectator at once."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises `SystemExit`: 0 after a clean stop, 1 with one line on stderr, 2 on wrong usage, 130 for a Ctrl-C during the
    start.
    """
    parser = argparse.ArgumentParser(
        prog="processor-live",
        description="The live channel: Redis stream to WebSockets. Settings come from the environment.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve on LIVE_WS_HOST:LIVE_WS_PORT until SIGTERM or SIGINT")
    commands.add_parser("check", help="read the settings, load the plugins, say whether that went well")
    command = {"serve": serve, "check": check}[parser.parse_args(argv).command]
    try:
        command()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    app = init()
    settings = app[SETTINGS]
    sock = listen(settings)
    log.info("live.listening host=%s port=%d", *sock.getsockname()[:2])
    web.run_app(app, sock=sock, print=None, access_log=None, backlog=BACKLOG)


def listen(settings: Settings) -> socket.socket:
    """Return the bound socket of the live port. Raise `StartError` when it cannot be had."""
    host, port = settings.ws_host, settings.ws_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise cannot_listen("LIVE_WS", host, port, error) from None


def check() -> None:
    """Read the settings and load the plugins, without connecting to anything."""
    settings = make_app(os.environ)[SETTINGS]
    print(f"settings are good; plugins: {', '.join(settings.plugins) or 'none'}")


if __name__ == "__main__":
    main()
