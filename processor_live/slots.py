"""Who decides? Three questions that the core asks and exactly one plugin each may answer.

Slots, not signals: a signal drops return values, and no listener would mean no objection. A slot that nobody fills has
the safe answer.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from aiohttp import web

from processor_live.connection import Connection
from processor_live.hub import Route
from processor_live.position import Row
from processor_live.protocol import Verdict

_Answer = TypeVar("_Answer", bound=Callable[..., object])


class SlotTakenError(Exception):
    """A slot was filled twice."""


class Slot(Generic[_Answer]):
    """One question and whoever answers it."""

    def __init__(self, name: str, default: _Answer) -> None:
        self.name = name
        self.answer: _Answer = default
        """To be called anew each time, not kept: plugins are installed one after another."""
        self.filled = False

    def fill(self, answer: _Answer) -> None:
        """Answer this question from now on. Raise `SlotTakenError` if somebody does already."""
        if self.filled:
            raise SlotTakenError(self.name)
        self.filled = True
        self.answer = answer


Authorize = Callable[[Connection, str], Awaitable[Verdict]]
"""May this connection follow this topic? Asked once per subscribe."""
Snapshot = Callable[[str], Awaitable[Iterable[Row]]]
"""What does the durable store know of the devices of this topic? Raises when it cannot tell."""

AUTHORIZE: web.AppKey[Slot[Authorize]] = web.AppKey("authorize", Slot[Authorize])
SNAPSHOT: web.AppKey[Slot[Snapshot]] = web.AppKey("snapshot", Slot[Snapshot])
ROUTE: web.AppKey[Slot[Route]] = web.AppKey("route", Slot[Route])
"""In which topics is this device? Asked per record: answer from memory, in well under a microsecond."""


async def _forbid(_connection: Connection, _topic: str) -> Verdict:
    return Verdict.FORBIDDEN


async def _no_rows(_topic: str) -> Iterable[Row]:
    return ()


def _nowhere(_device_id: str) -> tuple[str, ...]:
    return ()


def add_slots(app: web.Application) -> None:
    """Put the three slots on `app`, with their safe answers: forbid, no rows, no topics."""
    app[AUTHORIZE] = Slot[Authorize]("AUTHORIZE", _forbid)
    app[SNAPSHOT] = Slot[Snapshot]("SNAPSHOT", _no_rows)
    app[ROUTE] = Slot[Route]("ROUTE", _nowhere)
