"""Has the log told of this failure already?"""

import logging
import math
import time

AGAIN_SECONDS = 60.0
"""So long after a traceback the next one of its kind is told."""

_Kind = tuple[str, type[BaseException], str, int]
"""Who tells of it, what was raised, and in which file and line."""


class FailuresOnce(logging.Filter):
    """Drops the records of failures that another of their kind has told of just before, traceback included.

    What fails for one viewer may fail for thousands who come back at once, and whoever reads stderr may be slower than
    that: then everybody waits for the log. How many they are is for the metrics to say.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told_at: dict[_Kind, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is to be written: it has no traceback, or one that is news."""
        if record.exc_info is None or (error := record.exc_info[1]) is None:
            return True
        kind, now = (record.name, type(error), *_place_of(error)), time.monotonic()
        if now < self._told_at.get(kind, -math.inf) + AGAIN_SECONDS:
            return False
        self._told_at[kind] = now
        return True


def _place_of(error: BaseException) -> tuple[str, int]:
    traceback = error.__traceback__
    if traceback is None:
        return "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
