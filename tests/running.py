"""How does a test run one plugin in an application of its own, and wait for what that does?"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from processor_live.app import make_app
from processor_live.health import HEALTH
from processor_live.opening import open_when_warm

EVENTUALLY_SECONDS = 10.0
"""For what must happen: long, because a machine may be busy."""
LOGGERS = ("processor_live", "processor_live_directus", "processor_live_postgres", "processor_live_redis")


def app_with(plugin: str, **environ: str) -> web.Application:
    """Return an application with the core and one plugin, not running yet."""
    return make_app({"METRICS_HOST": "127.0.0.1", "METRICS_PORT": "0", **environ, "LIVE_PLUGINS": plugin})


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[web.Application]:
    """Run an application without a socket of its own: nobody can come, so it need not be warm."""
    app.on_startup.remove(open_when_warm)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        yield app
    finally:
        await runner.cleanup()


def problem(app: web.Application, check: str) -> str | None:
    """Return what is wrong with a check, None when it is good."""
    (found,) = [each for each in app[HEALTH]._checks if each.name == check]
    return found.problem


async def until(condition: Callable[[], object]) -> None:
    """Let everything else run until the condition is true."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while not condition():  # noqa: ASYNC110 - it is about another process, or has no event
            await asyncio.sleep(0)


class Diary(logging.Handler):
    """What the service logs, at any level; a test can wait for a line."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._read = 0
        self._written = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record down as it would be printed, traceback included."""
        self.lines.append(self.format(record))
        self._written.set()

    async def line(self, text: str) -> str:
        """Wait for the next line that has `text` in it; the lines up to it are read and not looked at again."""
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while True:
                while self._read < len(self.lines):
                    self._read += 1
                    if text in self.lines[self._read - 1]:
                        return self.lines[self._read - 1]
                self._written.clear()
                await self._written.wait()

    def count(self, text: str) -> int:
        """Return how many lines have `text` in them."""
        return sum(text in line for line in self.lines)


@contextmanager
def keeping_a_diary() -> Iterator[Diary]:
    """Write down what all first-party packages log."""
    diary = Diary()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(diary)
        logger.setLevel(logging.DEBUG)
    try:
        yield diary
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(diary)
            logger.setLevel(level)
