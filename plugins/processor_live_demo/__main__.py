"""How the whole live channel runs on one machine: `python -m processor_live_demo`, ended with Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress

import aiohttp
import psycopg2
from redis.exceptions import RedisError

from processor_live_demo.child import ServerError
from processor_live_demo.stage import perform

# What can go wrong outside of the demo's own code, to be said in one line; anything else deserves its traceback.
FAILURES = (ServerError, OSError, RedisError, psycopg2.Error, aiohttp.ClientError)


async def until_signalled(work: Coroutine[object, object, None]) -> None:
    """Run `work` until it fails or the first SIGINT, SIGTERM or SIGHUP; later ones do not disturb the clean-up."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    signalled = False

    def stop(*_: object) -> None:
        nonlocal signalled
        if not signalled and not loop.is_closed():
            signalled = True
            loop.call_soon_threadsafe(task.cancel)

    # Not loop.add_signal_handler: that ends with the loop, and an impatient second Ctrl-C may come after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not signalled:
            raise


def main() -> int:
    """Return the exit status: 0 after a signal, 1 after a failure."""
    status = 0
    try:
        asyncio.run(until_signalled(perform()))
    except* FAILURES as failures:
        error: BaseException = failures
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        reason = " ".join(str(error).split()) or type(error).__name__
        with suppress(OSError):  # the terminal may be what failed
            print(f"The demo failed: {reason}", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
