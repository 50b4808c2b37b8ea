"""The door stays closed while the instance gets warm, not for ever, and a stop meanwhile leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from processor_live import opening
from processor_live.app import make_app
from processor_live.health import HEALTH, Check
from tests.running import Diary, keeping_a_diary


@pytest.fixture
async def diary() -> AsyncIterator[Diary]:
    with keeping_a_diary() as diary:
        yield diary


@pytest.fixture
def app(environ: dict[str, str]) -> web.Application:
    """An application that needs something and can do without something else."""
    app = make_app(environ)
    app[HEALTH].check("map", problem="not drawn yet")
    return app


@pytest.fixture
def stream(app: web.Application) -> Check:
    """What it needs."""
    return app[HEALTH].check("stream", critical=True, problem="not read yet")


async def test_it_opens_when_everything_critical_has_been_good(
    app: web.Application, stream: Check, diary: Diary
) -> None:
    routes = app[HEALTH].check("routes", critical=True, problem="not read yet")
    runner = web.AppRunner(app)
    starting = asyncio.create_task(runner.setup())
    await diary.line("health.listening")
    stream.good()
    stream.failing("Redis has gone")  # it has been read before, and may be back at any moment
    await asyncio.sleep(0)
    assert not starting.done()
    routes.good()
    await starting
    assert "status=unready" in await diary.line("live.open")
    assert diary.count("live.cold") == 0
    await runner.cleanup()


@pytest.mark.usefixtures("stream")
async def test_what_cannot_get_warm_opens_nevertheless(
    app: web.Application, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PATIENCE_SECONDS", 0.01)
    runner = web.AppRunner(app)
    await runner.setup()
    await diary.line("live.cold waited_s=0.01")
    await diary.line("live.open")
    await runner.cleanup()


@pytest.mark.usefixtures("stream")
async def test_a_stop_while_it_waits_ends_what_has_begun(app: web.Application, diary: Diary) -> None:
    runner = web.AppRunner(app)
    starting = asyncio.create_task(runner.setup())
    await diary.line("health.listening")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert diary.count("live.open") == 0
