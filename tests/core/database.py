"""What stands in for Postgres: the durable writer's rows, and which devices are registered to which topic."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence

from processor_live.position import Position
from processor_live_postgres import routing
from processor_live_postgres.database import Columns

TOPICS = ("event:1", "event:2")
DEVICES = ("d1", "d2", "d3")


def fix(device: str, ts: int) -> Position:
    """Return a position whose coordinates tell nothing."""
    return Position(device, 41.5, 19.5, ts)


class Database:
    """The tables that the service reads."""

    def __init__(self, reports: Sequence[tuple[str, int]] = ()) -> None:
        self.registered: dict[str, set[str]] = {topic: {"d1", "d2"} for topic in TOPICS}
        """The devices of each topic."""
        self.rows_of: defaultdict[str, dict[int, bool]] = defaultdict(dict)
        """For each device, which `ts` it has and whether that row is flagged faulty."""
        self.ever_flagged: set[str] = set()
        """The devices that an operator has ever flagged a row of."""
        self.is_down = False
        self.context = None
        """Nobody need open or close it."""
        self._reports = reports
        """Device and `ts` of what the durable writer reads."""
        self._written = 0

    def write(self, count: int) -> None:
        """Let the durable writer store the next entries of the stream, perhaps before the service has read them."""
        for device, ts in self._reports[self._written :][:count]:
            self.rows_of[device].setdefault(ts, False)
            self._written += 1

    def store(self, device: str, ts: int, *, faulty: bool) -> None:
        """Have a row, or change the flag of one."""
        self.rows_of[device][ts] = faulty
        if faulty:
            self.ever_flagged.add(device)

    def flag(self, device: str) -> None:
        """Let an operator say that the newest row of a device is wrong, or that it is not."""
        if rows := self.rows_of[device]:
            self.store(device, max(rows), faulty=not rows[max(rows)])
            self.ever_flagged.add(device)

    def register(self, topic: str, device: str) -> None:
        """Let a device take part in an event, or not any more."""
        self.registered[topic] ^= {device}

    def routes(self) -> dict[str, tuple[str, ...]]:
        """Return the topics of each device that has any."""
        topics = {device: tuple(topic for topic in TOPICS if device in self.registered[topic]) for device in DEVICES}
        return {device: names for device, names in topics.items() if names}

    def newest(self, device: str, shown: Collection[int]) -> int | None:
        """Return what of a device everybody has seen in the end, 0 for nothing; None when its flags leave it open.

        `shown` is every `ts` that the stream, or a snapshot, has ever shown of it.
        """
        if device not in self.ever_flagged:
            return max(shown, default=0)
        return max((ts for ts in shown if ts > max(self.rows_of[device])), default=None)

    # What it is asked.

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Columns]:
        """Answer the query of a plugin; it takes a while to get here."""
        if query == routing.QUERY:
            answer = [(device, topic) for device, topics in self.routes().items() for topic in topics]
        else:
            answer = [self._row(device) for device in sorted(self.registered[f"event:{parameters[0]}"])]
        for _ in range(3):
            await asyncio.sleep(0)
        if self.is_down:
            raise TimeoutError
        return answer

    def _row(self, device: str) -> Columns:
        rows = self.rows_of[device]
        shown = max((ts for ts, faulty in rows.items() if not faulty), default=None)
        where = (None, None) if shown is None else (41.5, 19.5)
        return device, max(rows, default=None), shown, *where, None, None, None
