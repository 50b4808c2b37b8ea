"""Who may ask Directus now, and who waits?"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from prometheus_client import Gauge

WAITING = Gauge("live_directus_waiting", "Calls under way or waiting for a free place")

_T = TypeVar("_T")


class NoPlaceError(Exception):
    """There was no free place in time."""


class Places:
    """Calls that may be under way at the same time, those of newcomers half of them at most; first come, first served.

    A call that has begun keeps its place to its end, also when nobody waits for it any more: Directus does not notice
    that, and works on. Were the place free at once, a crowd would have Directus work on ever more calls that are in
    vain, and ever fewer answers would come in time: a storm that never ends.
    """

    def __init__(self, count: int) -> None:
        self._places = asyncio.Semaphore(count)
        self._newcomers = asyncio.Semaphore(max(count // 2, 1))
        """In a storm who has got in would else wait behind all who have not, and in vain."""
        self._calls: set[asyncio.Task[Any]] = set()

    def any_free(self, *, newcomer: bool) -> bool:
        """Return whether a call can begin without waiting."""
        return not self._places.locked() and not (newcomer and self._newcomers.locked())

    async def call(self, call: Callable[[], Coroutine[Any, Any, _T]], *, newcomer: bool, patience_s: float) -> _T:
        """Return the outcome of `call()`, which begins when there is a place. Raise `NoPlaceError`."""
        place = await self._place(patience_s, newcomer=newcomer)
        if place is None:
            raise NoPlaceError(f"no free place within {patience_s:g} s")
        task = asyncio.create_task(call())
        self._calls.add(task)
        task.add_done_callback(lambda done: self._end(done, place))
        try:
            return await asyncio.shield(task)
        finally:
            del task  # the exception it may have holds this frame

    async def _place(self, patience_s: float, *, newcomer: bool) -> ExitStack | None:
        """Return a place, to be closed; None when there was none in time."""
        with ExitStack() as taken, suppress(TimeoutError):
            taken.enter_context(WAITING.track_inprogress())
            async with asyncio.timeout(patience_s):
                for places in (self._newcomers, self._places) if newcomer else (self._places,):
                    await places.acquire()
                    taken.callback(places.release)
            return taken.pop_all()
        return None

    def _end(self, call: asyncio.Task[Any], place: ExitStack) -> None:
        self._calls.discard(call)
        place.close()
        if not call.cancelled():
            call.exception()  # seen, also when who asked has left

    async def close(self) -> None:
        """End all calls."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
