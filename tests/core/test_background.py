"""What runs beside the requests ends with the service, and the service with it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from processor_live import background
from processor_live.background import run_in_background


def served(*works: Callable[[], Awaitable[None]]) -> object:
    """Run an application with these works until it ends by itself; return the exit status."""
    app = web.Application()
    for number, work in enumerate(works):
        run_in_background(app, f"work-{number}", work)
    with pytest.raises(SystemExit) as ended:
        web.run_app(app, host="127.0.0.1", port=0, print=None, handle_signals=False, loop=asyncio.new_event_loop())
    return ended.value.code


def test_work_that_dies_ends_the_service_with_status_1_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def die() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("the stream is gone")

    assert served(die) == 1
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert record.message == "background.died task=work-0 error='ConnectionError: the stream is gone'"


def test_work_that_is_cancelled_by_nobody_has_died(caplog: pytest.LogCaptureFixture) -> None:
    async def be_cancelled() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError("the server has ended the statement")

    assert served(be_cancelled) == 1
    (record,) = caplog.records
    assert record.message == (
        "background.died task=work-0 error='StrayCancellationError: the server has ended the statement'"
    )


def test_work_that_just_ends_ends_the_service_too(caplog: pytest.LogCaptureFixture) -> None:
    async def end() -> None:
        await asyncio.sleep(0)

    assert served(end) == 1
    assert [record.message for record in caplog.records] == ["background.ended task=work-0"]


def test_when_one_dies_the_others_are_stopped_in_order() -> None:
    stopped = []

    async def live() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("live")

    async def die() -> None:
        raise ConnectionError

    assert served(live, die) == 1
    assert stopped == ["live"]


async def test_work_is_cancelled_at_clean_up_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    app = web.Application()
    run_in_background(app, "work", work)
    runner = web.AppRunner(app)
    await runner.setup()
    await begun.wait()
    await runner.cleanup()
    assert ended.is_set()
    assert caplog.records == []


async def test_work_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "CANCEL_AGAIN_SECONDS", 0.001)
    begun, swallowed = asyncio.Event(), 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    app = web.Application()
    run_in_background(app, "work", work)
    runner = web.AppRunner(app)
    await runner.setup()
    await begun.wait()
    await runner.cleanup()
    assert swallowed == 3
