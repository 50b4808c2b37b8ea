"""What stands in for Postgres: the durable writer's rows, and which devices are registered to which topic."""

import asyncio
from collections import defaultdict

from processor_live.position import Position, Row
from tests.core.stream import Stream

TOPICS = ("event:1", "event:2")
DEVICES = ("d1", "d2", "d3")


def fix(device: str, ts: int) -> Position:
    """Return a position whose coordinates tell nothing."""
    return Position(device, 41.5, 19.5, ts)


class Database:
    """The tables that the service reads."""

    def __init__(self, stream: Stream) -> None:
        self.registered: dict[str, set[str]] = {topic: {"d1", "d2"} for topic in TOPICS}
        """The devices of each topic."""
        self.rows: defaultdict[str, dict[int, bool]] = defaultdict(dict)
        """For each device, which `ts` it has and whether that row is flagged faulty."""
        self.ever_flagged: set[str] = set()
        """The devices that an operator has ever flagged a row of."""
        self.is_down = False
        self._stream = stream
        self._written = 0

    def write(self, count: int) -> None:
        """Let the durable writer store the next entries of the stream, perhaps before the service has read them."""
        for device, ts in self._stream.reports[self._written :][:count]:
            self.rows[device].setdefault(ts, False)
            self._written += 1

    def flag(self, device: str) -> None:
        """Let an operator say that the newest row of a device is wrong, or that it is not."""
        if rows := self.rows[device]:
            rows[max(rows)] ^= True
            self.ever_flagged.add(device)

    def register(self, topic: str, device: str) -> None:
        """Let a device take part in an event, or not any more."""
        self.registered[topic] ^= {device}

    def routes(self) -> dict[str, tuple[str, ...]]:
        """Return the topics of each device."""
        return {device: tuple(topic for topic in TOPICS if device in self.registered[topic]) for device in DEVICES}

    async def snapshot(self, topic: str) -> list[Row]:
        """Return what is known of a topic's devices; it takes a while to get here."""
        rows = [self._row(device) for device in sorted(self.registered[topic])]
        for _ in range(3):
            await asyncio.sleep(0)
        if self.is_down:
            raise TimeoutError
        return rows

    def _row(self, device: str) -> Row:
        rows = self.rows[device]
        good = [ts for ts, faulty in rows.items() if not faulty]
        return Row(device, fix(device, max(good)) if good else None, max(rows, default=None))
