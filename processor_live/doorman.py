"""What if the process may open no more files, and somebody knocks?

Viewers cannot use them up (`descriptors`), but connections can that never become a viewer's. Then asyncio logs a
traceback for every place in the backlog, over and over, and does little else; here whoever waits is told to come back.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from aiohttp import web

from processor_live import metrics
from processor_live.descriptors import Headroom, room_for
from processor_live.failure import one_line
from processor_live.handshake import retry_after
from processor_live.health import HEALTH, Check
from processor_live.seats import SEATS
from processor_live.settings import SETTINGS

log = logging.getLogger(__name__)

RECOVERY_SECONDS = 5.0
"""Nobody turned away for so long, and there are open files again: then the check is good."""
_NO_MORE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def keep_the_door(app: web.Application) -> AsyncIterator[None]:
    """Have no more seats than there can be connections, and turn away whom there is no open file for."""
    wanted = app[SETTINGS].max_connections
    room = app[SEATS].limit = room_for(wanted)
    metrics.ROOM.set(room)
    if room < wanted:
        log.warning("descriptors.few room=%d LIVE_WS_MAX_CONNECTIONS=%d: raise the limit of open files", room, wanted)
    loop, doorman = asyncio.get_running_loop(), Doorman(app[HEALTH].check("descriptors"))
    loop.set_exception_handler(doorman.handle)
    yield
    if loop.get_exception_handler() == doorman.handle:
        loop.set_exception_handler(None)
    doorman.leave()


class Doorman:
    """Looks after the listening sockets when there are no open files."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._headroom = Headroom()
        self._recovery: asyncio.TimerHandle | None = None

    def leave(self) -> None:
        """Look no more whether there are open files again."""
        if self._recovery is not None:
            self._recovery.cancel()

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what the loop reports; what is no lack of open files is the loop's own business."""
        error, listener = context.get("exception"), context.get("socket")
        if isinstance(error, OSError) and error.errno in _NO_MORE and listener is not None:
            self._check.failing(f"{one_line(error)}: clients are turned away")
            self._headroom.open()
            loop.call_soon(self._headroom.close)  # not before asyncio has seen that nobody waits, which takes a file
            _turn_away(listener.fileno())
            self._watch(loop)
        elif not (isinstance(error, ValueError) and "_start_serving" in context["message"]):
            # asyncio looks again after a second, and the listener may have been closed meanwhile: that was no error
            loop.default_exception_handler(context)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self.leave()
        self._recovery = loop.call_later(RECOVERY_SECONDS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """See whether there are open files again."""
        try:
            socket.socket().close()
        except OSError:
            self._watch(loop)
        else:
            self._check.good()


def _turn_away(listening: int) -> None:
    """Answer all who wait at a listening socket."""
    listener = socket.socket(fileno=listening)
    try:
        while True:
            client, _ = listener.accept()
            metrics.TURNED_AWAY.inc()
            with client, suppress(OSError):  # it may have hung up
                client.send(_sorry())
    except OSError:  # nobody waits
        return
    finally:
        listener.detach()  # it is asyncio's


def _sorry() -> bytes:
    status, headers = "HTTP/1.1 503 Service Unavailable", "Content-Length: 0\r\nConnection: close"
    return f"{status}\r\nRetry-After: {retry_after()}\r\n{headers}\r\n\r\n".encode()
