"""What has been read and not yet sent, and what of it is still worth sending?"""

from collections.abc import Iterable

from processor_live import Position


class Backlog:
    """Positions in the order in which they were read, until only the newest of each device are wanted."""

    def __init__(self) -> None:
        self._newest: dict[str, Position] = {}
        """One of each device: what was kept so far."""
        self._fresh: list[Position] = []
        """What was added since."""

    def add(self, positions: Iterable[Position]) -> None:
        """Have these sent, too."""
        self._fresh += positions

    def keep_newest(self) -> int:
        """Keep the newest of each device, of one `ts` the first added; return how many positions went."""
        newest, before = self._newest, len(self._newest) + len(self._fresh)
        for position in self._fresh:
            known = newest.get(position.device_id)
            if known is None or position.ts > known.ts:
                newest[position.device_id] = position
        self._fresh.clear()
        return before - len(newest)

    def take(self) -> list[Position]:
        """Return what there is to send, and begin again."""
        taken = [*self._newest.values(), *self._fresh]
        self._newest, self._fresh = {}, []
        return taken

    def __bool__(self) -> bool:
        return bool(self._newest or self._fresh)
