"""How does a failure read, to the person who must act on it?"""

import os


class StartError(SystemExit):
    """The service cannot start; the message is one line for the operator.

    A `SystemExit`, so that every way of starting (`processor-live`, `python -m aiohttp.web`) ends with that line on
    stderr and status 1 instead of a traceback.
    """


def cannot_listen(what: str, host: str, port: int, error: OSError) -> StartError:
    """Return what to say when the socket of the settings `what_HOST`, `what_PORT` cannot be had."""
    number = error.errno or 0
    # asyncio and socket put the address into the text once more; a resolver's numbers are negative
    reason = os.strerror(number) if number > 0 else error.strerror or one_line(error)
    return StartError(f"processor-live: cannot listen on {what}_HOST {host!r}, {what}_PORT {port}: {reason}")


def one_line(error: BaseException) -> str:
    """Return `error` as one line for a log, a readiness answer or an operator: its type and its message."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text}" if text else name
