"""Is there room for one more?"""

import asyncio
from collections import Counter

from aiohttp import web


class Seats:
    """Connections, and handshakes on their way to become one, against their limits."""

    def __init__(self, limit: int, limit_per_user: int) -> None:
        self.limit = limit
        """In all; to be changed before the first is taken."""
        self._limit_per_user = limit_per_user
        self.taken = 0
        """In all."""
        self._taken_by: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()

    def take(self) -> "Seat | None":
        """Return a seat, to be left; None when all are taken."""
        if self.taken >= self.limit:
            return None
        self.taken += 1
        self._empty.clear()
        return Seat(self)

    def take_for(self, user: str) -> bool:
        """Let `user` have one more; False when they have as many as they may."""
        if self._taken_by[user] >= self._limit_per_user:
            return False
        self._taken_by[user] += 1
        return True

    def give_back(self, user: str | None) -> None:
        """Take a seat back, and let its user have another one."""
        self.taken -= 1
        if not self.taken:
            self._empty.set()
        if user is not None:
            self._taken_by[user] -= 1
            if not self._taken_by[user]:
                del self._taken_by[user]

    async def emptied(self) -> None:
        """Wait until nobody has one."""
        await self._empty.wait()


class Seat:
    """Of a handshake, and then of its connection."""

    __slots__ = ("_seats", "_user")

    def __init__(self, seats: Seats) -> None:
        self._seats: Seats | None = seats
        self._user: str | None = None

    def belongs_to(self, user: str) -> bool:
        """Say whose it is; False when that is one too many for `user`."""
        if self._seats is None or not self._seats.take_for(user):
            return False
        self._user = user
        return True

    def leave(self) -> None:
        """Make room for another. Nothing happens the second time."""
        if self._seats is not None:
            seats, self._seats = self._seats, None
            seats.give_back(self._user)


SEATS: web.AppKey[Seats] = web.AppKey("seats", Seats)
SEAT: web.RequestKey[Seat] = web.RequestKey("seat", Seat)
"""The one that a handshake has."""
