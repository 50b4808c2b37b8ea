"""What must a subscription show? (docs/contract.md §5 G3, §6.2)"""

from collections.abc import Iterable, Sequence

from processor_live.position import LatestTable, Row


class Expectation:
    """What it shows at the moment at which it begins, and what it may show after that."""

    def __init__(
        self, rows: Sequence[Row], in_topic: Iterable[str], latest: LatestTable, *, rerouting: bool = False
    ) -> None:
        self.stored = {row.device_id: row for row in rows}
        """What the database says."""
        streamed = set(in_topic) - self.stored.keys()
        self._to_come = streamed if rerouting else set()
        """Those whose latest position may be on its way still."""
        known = {device: self._freshest(device, latest) for device in (*self.stored, *streamed)}
        self._shown = {device: ts for device, ts in known.items() if ts}

    def _freshest(self, device: str, latest: LatestTable) -> int:
        """Return which `ts` of a device is shown, 0 for none."""
        row, seen = self.stored.get(device, Row(device, None, None)), latest.get(device)
        if seen is not None and seen.ts > (row.newest_ts or 0):
            return seen.ts
        return row.position.ts if row.position else 0

    def check(self, shown: dict[str, int]) -> None:
        """Compare with it what a snapshot shows, devices and `ts`."""
        assert shown.items() <= self._shown.items(), "a snapshot shows the freshest, of the topic's devices only"
        assert self._shown.keys() - shown.keys() <= self._to_come, "G3: what was known is in the snapshot"

    def admits(self, device: str, ts: int) -> bool:
        """Return whether a position is newer than all that the database had, flagged rows included."""
        row = self.stored.get(device)
        return row is None or ts > (row.newest_ts or 0)
