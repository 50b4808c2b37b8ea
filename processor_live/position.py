"""Where is a device, and is that news?"""

import enum
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

MAX_SPEED_KMH = 1_000
"""Above it a speed is a sensor's nonsense (trackers use 65535 for "unknown") and left out."""
FULL_TURN_DEGREES = 360


class Position(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename={"device_id": "deviceId"}):
    """One fix of one device; encoded by msgspec it is the contract's position entry (docs/contract.md §3)."""

    device_id: str
    """The IMEI, never the Directus uuid."""
    lat: float
    """Degrees, WGS 84, -90 to 90."""
    lon: float
    """Degrees, WGS 84, -180 to 180."""
    ts: int
    """The fix, in epoch milliseconds."""
    speed: float | None = None
    """km/h; absent when unknown or zero."""
    course: float | None = None
    """Degrees clockwise from north; absent when unknown or zero."""
    attributes: Any = None
    """A JSON object (`msgspec.Raw` or a dict); absent unless `LIVE_INCLUDE_ATTRIBUTES`."""


def known(value: float | None, maximum: float) -> float | None:
    """Return `value` when it is known, not zero and at most `maximum`, else None: absent means absent.

    A whole number comes back as `int`: on the wire `87`, not `87.0`.
    """
    if value is None or not 0 < value <= maximum:
        return None
    whole = int(value)
    return whole if whole == value else value


def epoch_ms(moment: datetime) -> int:
    """Return `moment` in whole epoch milliseconds, rounded down; without a time zone it is taken as UTC.

    Stream and database both go through here, so that one fix has one `ts` whatever way it came.
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Row(NamedTuple):
    """What the durable store knows of one device of a topic: the answer of the `SNAPSHOT` slot."""

    device_id: str
    position: Position | None
    """The newest that may be shown, if any."""
    newest_ts: int | None
    """The newest of any kind, in epoch milliseconds: a position seen on the stream must beat it to be shown."""


def freshest(row: Row, seen: Position | None) -> Position | None:
    """Return what a snapshot shows of a device: `seen` on the stream or the store's row.

    What was seen wins only when it is newer than the newest row of any kind: else the store knew of it, and if it is
    not the row to be shown, an operator has flagged it faulty (docs/contract.md §6.2).
    """
    if seen is not None and (row.newest_ts is None or seen.ts > row.newest_ts):
        return seen
    return row.position


class News(enum.Enum):
    """What a position is to the table that knows the latest of each device."""

    NEWEST = "newest"
    DUPLICATE = "duplicate"
    LATE = "late"


class LatestTable:
    """The latest position of every device this instance has seen, in any event or in none."""

    def __init__(self) -> None:
        self._positions: dict[str, Position] = {}

    def offer(self, position: Position) -> News:
        """Keep `position` if it is newer than what is known of its device, and say what it was."""
        known = self._positions.get(position.device_id)
        if known is None or position.ts > known.ts:
            self._positions[position.device_id] = position
            return News.NEWEST
        return News.DUPLICATE if position.ts == known.ts else News.LATE

    def get(self, device_id: str) -> Position | None:
        """Return the latest position of a device, None when it was never seen."""
        return self._positions.get(device_id)

    def forget(self, device_id: str) -> None:
        """Know nothing of a device any more."""
        self._positions.pop(device_id, None)

    def __iter__(self) -> Iterator[Position]:
        return iter(self._positions.values())

    def __len__(self) -> int:
        return len(self._positions)
