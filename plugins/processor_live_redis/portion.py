"""How many entries are asked for at once?"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

MAX_HALVINGS = 14
"""One entry, whatever the batch size."""
QUICK_SHARE = 0.25
"""Of the time that was too long: what came in so much of it comes in time, too, if it is twice as large and as slow."""


class Portion:
    """Half as much after each answer that does not come in time, twice as much after each that comes quickly.

    A line may be too slow for a batch: asked for again and again as it is, it would never arrive.
    """

    def __init__(self) -> None:
        self._halvings = 0
        self._too_long_s = 0.0
        """For how long the last answer that did not come was waited for."""

    def of(self, entries: int) -> int:
        """Return how many to ask for instead of so many."""
        return max(1, entries >> self._halvings)

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Learn from how long the answer takes that is awaited here."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            yield
        except TimeoutError:
            self._halvings, self._too_long_s = min(self._halvings + 1, MAX_HALVINGS), loop.time() - asked
            raise
        if self._halvings and loop.time() - asked < self._too_long_s * QUICK_SHARE:
            self._halvings -= 1
