"""How is the service started by hand? `processor-live serve`, `processor-live check`."""

import argparse
import asyncio
import logging
import os
from collections.abc import Sequence

from aiohttp import web

from processor_live.app import LAST_REQUEST_SECONDS, init, make_app
from processor_live.lifeline import held
from processor_live.listening import BACKLOG, alone, shared
from processor_live.settings import SETTINGS
from processor_live.stopping import shut_the_door_first
from processor_live.threads import leave_hanging_threads
from processor_live.workers import Workers

log = logging.getLogger("processor_live")  # not `__main__`

INTERRUPTED = 130
"""128 and the number of the signal, as shells have it."""


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
    serving = commands.add_parser("serve", help="serve on LIVE_WS_HOST:LIVE_WS_PORT until SIGTERM or SIGINT")
    serving.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="processes that share the port, METRICS_PORT and the N-1 after it",
    )
    serving.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)  # one of them
    commands.add_parser("check", help="read the settings, load the plugins, say whether that went well")
    chosen = parser.parse_args(argv)
    try:
        if chosen.command == "check":
            check()
        elif chosen.workers > 1:
            serve_together(chosen.workers)
        else:
            serve(worker=chosen.worker)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _count(said: str) -> int:
    if not said.isdecimal() or int(said) < 1:
        raise argparse.ArgumentTypeError(f"{said!r} is not a whole number of at least 1")
    return int(said)


def serve(*, worker: bool) -> None:
    """Serve until SIGTERM or SIGINT; a `worker` shares the port with others and ends with its parent."""
    app = init()
    settings = app[SETTINGS]
    if worker:
        app.cleanup_ctx.append(held)
        sock = shared(settings)
    else:
        sock = alone(settings)
    shut_the_door_first(app, sock)
    log.info("live.listening host=%s port=%d", *sock.getsockname()[:2])
    web.run_app(app, sock=sock, print=None, access_log=None, backlog=BACKLOG, shutdown_timeout=LAST_REQUEST_SECONDS)
    leave_hanging_threads()


def serve_together(count: int) -> None:
    """Serve with several workers until SIGTERM or SIGINT. Raises `SystemExit`."""
    settings = init()[SETTINGS]  # whatever would stop a worker's start stops ours

    async def run() -> int:
        workers = Workers(count, settings, os.environ)
        log.info("live.listening host=%s port=%d workers=%d", settings.ws_host, workers.port, count)
        return await workers.run()

    raise SystemExit(asyncio.run(run()))


def check() -> None:
    """Read the settings and load the plugins, without connecting to anything."""
    settings = make_app(os.environ)[SETTINGS]
    print(f"settings are good; plugins: {', '.join(settings.plugins) or 'none'}")


if __name__ == "__main__":
    main()
