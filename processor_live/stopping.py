"""What does a signal do? The first one begins the stop, every later one hurries it."""

import asyncio
import signal
import socket
from collections.abc import Callable

from aiohttp import web

from processor_live.endpoint import LEISURE


def shut_the_door_first(app: web.Application, listener: socket.socket) -> None:
    """Let a signal first end the accepting of connections, and only then begin the stop.

    It takes asyncio a turn of its loop to know a connection that it has accepted. Whoever comes in the turn in which
    aiohttp closes the listener is dropped, from Python 3.13 on with a traceback in the log (python/cpython#109564).
    """

    async def hear(_: web.Application) -> None:
        loop = asyncio.get_running_loop()
        begun = False

        def stop() -> None:
            nonlocal begun
            if begun:  # two signals in one turn: whoever left the loop a second time would cancel the stop itself
                app[LEISURE].shorten(loop.time())
                return
            begun = True
            loop.remove_reader(listener)
            loop.call_soon(_exit)

        _at_signals(stop)

    app.on_startup.append(hear)


async def hear_impatience(app: web.Application) -> None:
    """Let a signal, of which the first one has begun the stop, from now on mean that it is to hurry."""
    loop = asyncio.get_running_loop()
    _at_signals(lambda: app[LEISURE].shorten(loop.time()))


def _at_signals(do: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, do)


def _exit() -> None:
    raise web.GracefulExit
