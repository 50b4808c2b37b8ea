"""When does an instance that starts let viewers in?

When it is warm: whoever comes from another instance must not find an older map here than he had there (docs/contract.md
§8). Connections are accepted when all that happens at startup is over, so this is the last of it.
"""

import asyncio
import logging

from aiohttp import web

from processor_live.health import HEALTH

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""Then it opens as it is: the database's positions are better than none, and whoever waits would give up."""


async def open_when_warm(app: web.Application) -> None:
    """Wait until everything critical has been good once, but not for ever."""
    health = app[HEALTH]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await health.warm()
    except TimeoutError:
        log.warning("live.cold waited_s=%g: what cannot be read is missing on the maps", PATIENCE_SECONDS)
    except asyncio.CancelledError:
        await app.cleanup()  # a stop: of an application that has not started aiohttp leaves everything as it is
        raise
    log.info("live.open status=%s", health.status)
