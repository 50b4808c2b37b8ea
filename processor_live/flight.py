"""Is somebody already asking this?"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class SingleFlight(Generic[_K, _V]):
    """Those who ask the same thing at the same moment share one call and its outcome; nothing is kept beyond it.

    With `spacing_s`, two calls for the same thing begin at least so many seconds apart: who asks in between waits for
    the next one, together with all others who do, so that a crowd costs a few calls and nobody gets an old answer.
    """

    def __init__(self, spacing_s: float = 0.0) -> None:
        self._flights: dict[_K, asyncio.Task[_V]] = {}
        self._spacing_s = spacing_s
        self._rests: dict[_K, asyncio.TimerHandle] = {}
        """Until when there is no next call for what was asked last."""

    async def ask(self, key: _K, call: Callable[[], Awaitable[_V]]) -> _V:
        """Return the outcome of the call under way for `key`, or of a new `call()`; its exception is everybody's.

        Who is cancelled leaves alone: the call goes on for the others.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fly(key, call))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        try:
            return await asyncio.shield(flight)
        finally:
            del flight  # the exception it may have holds this frame: in a storm, all who are refused would be garbage

    async def _fly(self, key: _K, call: Callable[[], Awaitable[_V]]) -> _V:
        loop = asyncio.get_running_loop()
        rest = self._rests.pop(key, None)
        if rest is not None:
            rest.cancel()
            await asyncio.sleep(rest.when() - loop.time())
        if self._spacing_s:
            self._rests[key] = loop.call_later(self._spacing_s, self._rests.pop, key, None)
        return await call()

    def _land(self, key: _K, flight: asyncio.Task[_V]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, also when all who asked have left
