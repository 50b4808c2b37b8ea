"""When the process may open no more files, clients are told to come back, and nothing else happens to anybody."""

import asyncio
import os
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from resource import RLIMIT_NOFILE
from typing import Any

import pytest

from processor_live.health import HEALTH
from tests.core.door import Browser, Start
from tests.core.stranger import Stranger
from tests.core.wire import metric, until

CROWD_SIZE = 5
SORRY = rb"HTTP/1\.1 503 Service Unavailable\r\nRetry-After: (?:[1-9]|10)\r\n[\w:\s-]+\r\n\r\n"
SAID = "check.failing check=descriptors problem='OSError: [Errno 24] Too many open files: clients are turned away'"


@contextmanager
def no_files_left() -> Iterator[None]:
    """Use up what this process may open."""
    before = resource.getrlimit(RLIMIT_NOFILE)
    with ExitStack() as stack:
        highest = max(int(file.name) for file in Path("/dev/fd").iterdir())
        resource.setrlimit(RLIMIT_NOFILE, (highest + 1, before[1]))
        stack.callback(resource.setrlimit, RLIMIT_NOFILE, before)
        try:
            while True:
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError:
            yield


@pytest.fixture
async def browser(start: Start, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """At the door of an instance that soon looks whether there are open files again."""
    monkeypatch.setattr("processor_live.doorman.RECOVERY_SECONDS", 0.05)
    return await start()


@pytest.fixture
def crowd() -> Iterator[list[Stranger]]:
    """Those who are about to knock."""
    with ExitStack() as stack:
        yield [Stranger(stack.enter_context(socket.socket())) for _ in range(CROWD_SIZE)]


def knock(browser: Browser, stranger: Stranger) -> None:
    """Connect as far as the kernel goes: nobody has accepted yet."""
    assert browser.server is not None
    stranger.sock.connect(("127.0.0.1", browser.server.port))
    stranger.sock.setblocking(False)


def reported() -> list[object]:
    """Return what the loop reports from now on."""
    loop, reports = asyncio.get_running_loop(), list[object]()
    handle = loop.get_exception_handler()
    assert handle is not None

    def listen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        reports.append(context)
        handle(loop, context)

    loop.set_exception_handler(listen)
    return reports


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What an operator is warned of."""
    return [record.getMessage() for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


async def test_who_finds_no_open_file_is_told_when_to_come_back_and_the_operator_once(
    browser: Browser, crowd: list[Stranger], caplog: pytest.LogCaptureFixture
) -> None:
    app, before, reports = browser.app, metric("live_turned_away_total"), reported()
    assert app is not None
    with no_files_left():
        for stranger in crowd:
            knock(browser, stranger)
        for stranger in crowd:
            assert re.fullmatch(SORRY, await stranger.rest())
        assert app[HEALTH].status == "degraded"
        await asyncio.sleep(0.2)  # it looks whether there are open files again, and there are none
        assert app[HEALTH].status == "degraded"
    await until(lambda: app[HEALTH].status == "ready")
    assert metric("live_turned_away_total") - before == len(crowd)
    assert len(reports) == 1, "not once for each place in the backlog"
    assert said(caplog) == [SAID]
    async with browser.get("/ws-live") as response:
        assert response.status == 426, "the door is open again"


async def test_a_door_that_is_closed_meanwhile_is_no_error(
    browser: Browser, crowd: list[Stranger], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.05)
    with no_files_left():
        knock(browser, crowd[0])
        await crowd[0].rest()
    assert browser.app is not None
    browser.app[HEALTH].draining = True
    assert browser.server is not None
    assert browser.server.runner is not None
    for site in browser.server.runner.sites:
        await site.stop()
    await asyncio.sleep(0.2)  # asyncio looks again
    assert said(caplog) == [SAID]


async def test_what_else_goes_wrong_in_the_loop_is_reported_as_ever(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("a bug")

    assert browser.app is not None
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
    assert "a bug" in caplog.text
    assert "Traceback" in caplog.text


async def test_when_the_service_has_ended_the_loop_is_its_owners_again(start: Start) -> None:
    browser = await start()
    assert asyncio.get_running_loop().get_exception_handler() is not None
    await browser.close()
    assert asyncio.get_running_loop().get_exception_handler() is None
