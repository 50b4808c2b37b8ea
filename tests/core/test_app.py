"""The application is put together from its settings, says what keeps it from starting, and leaves nothing behind."""

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest
from aiohttp import ClientSession, web

from processor_live.app import log_to_stderr, make_app
from processor_live.failure import StartError
from processor_live.health import HEALTH
from processor_live.hub import HUB
from processor_live.position import Row
from processor_live.protocol import Verdict
from processor_live.settings import ENVIRON, SETTINGS
from processor_live.slots import AUTHORIZE, ROUTE, SNAPSHOT
from tests.core.database import fix
from tests.core.door import COOKIE, Start


@pytest.fixture
def _loggers() -> Iterator[None]:
    """Put the loggers back as they were."""
    loggers = [logging.getLogger(name) for name in (None, "aiohttp.access", "aiohttp.websocket", "aiohttp.server")]
    levels, handlers = [logger.level for logger in loggers], [*loggers[0].handlers]
    loggers[0].handlers.clear()
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.filters.clear()
    loggers[0].handlers[:] = handlers


def test_plugins_find_settings_and_environment_on_the_application(environ: dict[str, str]) -> None:
    app = make_app({**environ, "INSTANCE_ID": "one", "STRANGER_KEY": "x"})
    assert app[SETTINGS].instance_id == "one"
    assert app[ENVIRON]["STRANGER_KEY"] == "x"


def test_a_bad_setting_keeps_the_application_from_being_made() -> None:
    with pytest.raises(StartError, match="LIVE_WS_PORT is 'x'"):
        make_app({"LIVE_WS_PORT": "x"})


def test_two_applications_share_nothing(environ: dict[str, str]) -> None:
    one, other = make_app(environ), make_app(environ)
    assert one[HUB] is not other[HUB]
    assert one[HEALTH] is not other[HEALTH]


async def test_health_and_metrics_have_a_port_of_their_own_while_the_application_runs(environ: dict[str, str]) -> None:
    app = make_app(environ)
    runner = web.AppRunner(app)
    await runner.setup()
    async with ClientSession() as session:
        for path in ("/healthz", "/readyz", "/metrics"):
            async with session.get(f"http://127.0.0.1:{app[HEALTH].port}{path}") as response:
                assert response.status == 200
        await runner.cleanup()
        with pytest.raises(OSError, match="onnect"):
            await session.get(f"http://127.0.0.1:{app[HEALTH].port}/healthz")


async def test_a_busy_metrics_port_is_named_and_nothing_is_left_running(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        runner = web.AppRunner(make_app({**environ, "METRICS_PORT": str(port)}))
        with pytest.raises(StartError, match=rf"METRICS_HOST '127.0.0.1', METRICS_PORT {port}: .*in use"):
            await runner.setup()
        await runner.cleanup()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_position_reaches_a_browser_through_slots_that_a_plugin_fills(start: Start) -> None:
    browser = await start()
    app = browser.app
    assert app is not None

    async def allow(*_: object) -> Verdict:
        return Verdict.ALLOW

    async def rows(topic: str) -> list[Row]:
        return [Row(topic, fix("d1", 1), 1)] if topic == "d1" else []

    app[AUTHORIZE].fill(allow)
    app[SNAPSHOT].fill(rows)
    app[ROUTE].fill(lambda device: (device,))
    async with browser.ws_connect("/ws-live", headers=COOKIE) as socket_:
        await socket_.send_json({"type": "subscribe", "topic": "d1"})
        assert (await socket_.receive_json())["snapshot"][0]["ts"] == 1
        app[HUB].publish(fix("d1", 2))
        assert (await socket_.receive_json())["ts"] == 2


@pytest.mark.usefixtures("_loggers")
def test_the_log_is_one_line_an_event_on_stderr_from_the_level_set(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("warning")
    log = logging.getLogger("processor_live.test")
    log.info("quiet.event")
    log.warning("loud.event port=%d", 1)
    logging.getLogger("aiohttp.access").info("GET /ws-live")
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.endswith("WARNING processor_live.test loud.event port=1")


@pytest.mark.usefixtures("_loggers")
def test_what_fails_for_every_viewer_leaves_one_traceback_whoever_logs_it(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info")
    for name in ("processor_live.signals", "aiohttp.server"):
        for _ in range(3):
            try:
                raise LookupError  # noqa: TRY301 - in one place
            except LookupError:
                logging.getLogger(name).exception("event.failed")
    assert capsys.readouterr().err.count("Traceback") == 2


@pytest.mark.usefixtures("_loggers")
def test_requests_are_not_logged_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("debug")
    logging.getLogger("aiohttp.access").info("GET /ws-live")
    logging.getLogger("processor_live.test").debug("event")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["event"]
