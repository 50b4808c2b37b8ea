"""How does a failure read, to the person who must act on it?"""


class StartError(SystemExit):
    """The service cannot start; the message is one line for the operator.

    A `SystemExit`, so that every way of starting (`processor-live`, `python -m aiohttp.web`) ends with that line on
    stderr and status 1 instead of a traceback.
    """


def one_line(error: BaseException) -> str:
    """Return `error` as one line for a log, a readiness answer or an operator: its type and its message."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text}" if text else name
