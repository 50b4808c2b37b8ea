"""Is somebody already asking this?"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class SingleFlight(Generic[_K, _V]):
    """Those who ask the same thing at the same moment share one call and its outcome; nothing is kept beyond it."""

    def __init__(self) -> None:
        self._flights: dict[_K, asyncio.Task[_V]] = {}

    async def ask(self, key: _K, call: Callable[[], Awaitable[_V]]) -> _V:
        """Return the outcome of the call under way for `key`, or of a new `call()`; its exception is everybody's.

        Who is cancelled leaves alone: the call goes on for the others.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(_run(call))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)

    def _land(self, key: _K, flight: asyncio.Task[_V]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, also when all who asked have left


async def _run(call: Callable[[], Awaitable[_V]]) -> _V:
    return await call()
