"""How do a worker and the process that watches over it know that the other is still there?

Over a pair of sockets, one end of which is the worker's stdin. The kernel closes an end when its process is gone,
however it went; and with every beat the worker says that its event loop turns.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Self

from aiohttp import web

BEAT_SECONDS = 1.0
SILENT_BEATS = 10
"""So many missing in a row, and the worker is taken for frozen: no turn of its loop lasts that long, and the browser
gives a handshake up after as long (docs/contract.md §9)."""


async def held(_: web.Application) -> AsyncIterator[None]:
    """In a worker, say that it lives, and stop it when its parent is gone."""
    loop = asyncio.get_running_loop()
    end = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    end.setblocking(False)

    def parent_gone() -> None:
        loop.remove_reader(end)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(end, parent_gone)
    beating = asyncio.create_task(_beat(end))
    yield
    beating.cancel()
    loop.remove_reader(end)
    end.close()


async def _beat(end: socket.socket) -> None:
    while True:
        with suppress(OSError):  # the parent is gone, or has not listened for minutes
            end.send(b".")
        await asyncio.sleep(BEAT_SECONDS)


class Lifeline:
    """The parent's end of it; `workers_end` is to be the stdin of the worker. Both are closed when it is left."""

    def __init__(self) -> None:
        self._end, self.workers_end = socket.socketpair()
        self._end.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()
        self.workers_end.close()

    async def falls_silent(self) -> None:
        """Return when nothing has come for some time from a worker that has said something before.

        What is missing is counted, and no clock is read: a parent that was frozen itself has missed nothing.
        """
        spoken, missing = False, 0
        while missing < SILENT_BEATS:
            await asyncio.sleep(BEAT_SECONDS)
            heard = self._heard()
            spoken = spoken or heard
            missing = 0 if heard or not spoken else missing + 1

    def _heard(self) -> bool:
        try:
            return bool(self._end.recv(4_096))
        except BlockingIOError:
            return False
