"""How does the process end, though a thread hangs?

The system's resolver works in threads, cannot be interrupted, and may look for a minute for a server of names that does
not answer. Python waits for every thread at its end.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.5
"""For a thread that has something to do when everything else has ended."""


async def let_threads_end(_: web.Application) -> AsyncIterator[None]:
    """Have threads for what blocks; when the application ends, those that do nothing end, too."""
    executor = ThreadPoolExecutor(thread_name_prefix="blocking")
    asyncio.get_running_loop().set_default_executor(executor)
    yield
    executor.shutdown(wait=False, cancel_futures=True)


def leave_hanging_threads() -> None:
    """End the process at once, with status 0, if there is a thread that does not end; to be called last of all."""
    for thread in {*threading.enumerate()} - {threading.current_thread()}:
        if thread.daemon:
            continue  # Python does not wait for it
        thread.join(PATIENCE_SECONDS)
        if thread.is_alive():
            log.warning("thread.left_behind thread=%s: does the server of names answer?", thread.name)
            logging.shutdown()
            os._exit(0)
