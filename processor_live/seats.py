"""Is there room for one more?"""

import contextlib
from collections import Counter
from collections.abc import Iterator

from aiohttp import web


class Seats:
    """Connections, and handshakes on their way to become one, against their limits."""

    def __init__(self, limit: int, limit_per_user: int) -> None:
        self._limit = limit
        self._limit_per_user = limit_per_user
        self._taken = 0
        self._taken_by: Counter[str] = Counter()

    @contextlib.contextmanager
    def one(self) -> Iterator[bool]:
        """Take a seat for the length of the `with`; False when all are taken."""
        if self._taken >= self._limit:
            yield False
            return
        self._taken += 1
        try:
            yield True
        finally:
            self._taken -= 1

    @contextlib.contextmanager
    def one_for(self, user: str) -> Iterator[bool]:
        """Take one of a user's seats for the length of the `with`; False when all of them are taken."""
        if self._taken_by[user] >= self._limit_per_user:
            yield False
            return
        self._taken_by[user] += 1
        try:
            yield True
        finally:
            self._taken_by[user] -= 1
            if not self._taken_by[user]:
                del self._taken_by[user]


SEATS: web.AppKey[Seats] = web.AppKey("seats", Seats)
