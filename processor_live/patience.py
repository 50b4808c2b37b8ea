"""How long is somebody waited for, or waits?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Patience:
    """Of a client for an answer, of a stop for the clients; it can be shortened while the waiting is under way."""

    __slots__ = ("_timeout", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        """When it is over, in the event loop's time."""
        self._timeout: asyncio.Timeout | None = None
        """While it lasts."""

    @property
    def over(self) -> bool:
        """Whether there is nothing left of it."""
        return self.until <= asyncio.get_running_loop().time()

    @asynccontextmanager
    async def lasting(self) -> AsyncIterator[asyncio.Timeout]:
        """Give whatever is awaited in this context so much time and no more. Raises `TimeoutError`."""
        try:
            async with asyncio.timeout_at(self.until) as self._timeout:
                yield self._timeout
        finally:
            self._timeout = None

    def shorten(self, until: float) -> None:
        """Let it be over at `until`, unless it is sooner."""
        self.until = min(self.until, until)
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self.until)
