"""What time is it? As late as the test says: an event loop that turns, and whose time passes, when it is told."""

import asyncio
from collections.abc import Callable
from typing import Any


class Clock(asyncio.SelectorEventLoop):
    """A loop on which hours take no time, and the same always happens in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1_000.0
        self._failures: list[BaseException] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Let it be later."""
        self._now += seconds

    def turn(self, then: Callable[[], object]) -> None:
        """Run once what can run now, and then `then`. Raises what has been raised meanwhile."""
        self.call_soon(then)
        self.call_soon(self.stop)
        self.run_forever()
        if self._failures:
            raise self._failures.pop()

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failures.append(context.get("exception") or AssertionError(context["message"]))
