"""In the very moment of a signal nobody is dropped half-way: neither who knocks, nor who is in, by another signal."""

import asyncio
import gc
import math
import os
import signal
import socket
import sys
from contextlib import suppress

import pytest
from aiohttp import web

from processor_live.endpoint import LEISURE
from processor_live.patience import Patience
from processor_live.stopping import hear_impatience, shut_the_door_first

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


@pytest.mark.parametrize("turns", range(TURNS))
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_in_any_turn_of_a_stop_hurries_it_and_does_not_cut_it_short(
    turns: int, second: signal.Signals
) -> None:
    app, tasks, ended, hurried = web.Application(), set(), [], asyncio.Event()
    app[LEISURE] = Patience(math.inf)

    async def be_impatient() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(turns):
            await asyncio.sleep(0)
        os.kill(os.getpid(), second)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        hurried.set()

    async def take_time(_: web.Application) -> None:
        await hurried.wait()
        ended.append(app[LEISURE].over)

    app.on_shutdown.extend([hear_impatience, take_time])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shut_the_door_first(app, listener)
        web.run_app(app, sock=listener, print=lambda _: tasks.add(asyncio.create_task(be_impatient())))
    assert ended == [True]
