"""Has anybody asked for this cancellation?"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class StrayCancellationError(Exception):
    """Something was cancelled, though nobody had asked for it."""


@contextmanager
def no_strays() -> Iterator[None]:
    """Let a `CancelledError` that is no cancellation of this task fail as every other error does.

    A library may raise one: aiopg when the server has ended a statement, whoever awaits a task that was cancelled
    elsewhere. No `except Exception` sees it, and the task that it ends counts as one that was meant to end.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise StrayCancellationError(*error.args) from error
