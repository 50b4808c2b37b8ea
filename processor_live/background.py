"""What runs beside the requests, and what if it dies?"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from processor_live.cancellation import no_strays
from processor_live.failure import one_line

log = logging.getLogger(__name__)

CANCEL_AGAIN_SECONDS = 0.5


def run_in_background(app: web.Application, name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work()` for as long as `app` does; it is cancelled at clean-up.

    Should it end by itself, with an exception or without, the service ends with status 1: better restarted than deaf.
    """

    async def context(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_guarded(name, work), name=name)
        yield
        while not task.done():  # again and again: a library may swallow a cancellation, `asyncio.wait_for` of 3.11 does
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)

    app.cleanup_ctx.append(context)


async def _guarded(name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        with no_strays():
            await work()
    except Exception as error:
        log.critical("background.died task=%s error=%r", name, one_line(error), exc_info=error)
    else:
        log.critical("background.ended task=%s", name)
    asyncio.get_running_loop().call_soon(_end_service)


def _end_service() -> None:
    """Leave the event loop: aiohttp's runner cleans up, and the process ends with this status."""
    raise SystemExit(1)
