"""Who knocks in the very moment in which a signal comes is let in or refused, but not dropped half-way."""

import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import suppress

import pytest
from aiohttp import web

from processor_live.stopping import shut_the_door_first

TURNS = 8
"""Of the loop: after seven from the signal on, an application with nothing to do is at its end."""


@pytest.mark.parametrize("turns", range(TURNS))
def test_a_newcomer_in_any_turn_of_a_stop_leaves_no_traceback(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    app, tasks = web.Application(), set()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as newcomer:

        async def knock_at_a_stop() -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(turns):
                await asyncio.sleep(0)
            with suppress(ConnectionRefusedError):
                newcomer.connect(listener.getsockname())

        shut_the_door_first(app, listener)
        web.run_app(app, sock=listener, print=lambda _: tasks.add(asyncio.create_task(knock_at_a_stop())))
    gc.collect()
    assert not dropped
