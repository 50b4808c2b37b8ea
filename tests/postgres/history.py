"""How long have devices been driving, and what does a snapshot of them cost?"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from processor_live_postgres.snapshot import PLANNING, query_with
from tests.servers import Database

DRIVE = """
INSERT INTO positions (device_id, ts, ingested_at, latitude, longitude, altitude, angle, speed, satellites, priority,
    codec, faulty)
SELECT imei, to_timestamp(%(first)s + step), to_timestamp(%(first)s + step - %(ahead)s), 41, 19, 0, 0, 0, 9, 0, '8',
    step > %(rows)s - %(faulty)s
FROM generate_series(1, %(rows)s) AS step, unnest(%(imeis)s) AS imei
ORDER BY step
"""
BEGIN = 1_700_000_000
DAY_SECONDS = 86_400
CHUNKED = """
ALTER TABLE positions RENAME TO whole;
CREATE TABLE positions (LIKE whole INCLUDING DEFAULTS) PARTITION BY RANGE (ts);
DROP TABLE whole;
CREATE UNIQUE INDEX ON positions (device_id, ts);
CREATE INDEX ON positions (device_id, ts DESC);
CREATE INDEX ON positions (ts DESC)
"""
CHUNK = """
CREATE TABLE positions_{number} PARTITION OF positions
    FOR VALUES FROM (to_timestamp({begin})) TO (to_timestamp({end}))
"""


def drive(
    database: Database, imeis: str | list[str], rows: int, *, first: int = BEGIN, faulty: int = 0, ahead: int = 0
) -> int:
    """Store so many rows of each device, one a second, as they come in, and return the `ts` of the last.

    The newest of them may be faulty, and all dated by a clock that is so many seconds ahead.
    """
    together = [imeis] if isinstance(imeis, str) else imeis
    database.execute(DRIVE, {"imeis": together, "rows": rows, "first": first, "faulty": faulty, "ahead": ahead})
    return (first + rows) * 1_000


def cut(database: Database, *, days: int) -> None:
    """Keep `positions`, still empty, in chunks of a day from `BEGIN` on, as a hypertable does."""
    database.execute(CHUNKED)
    for number in range(days):
        begin = BEGIN + number * DAY_SECONDS
        database.execute(CHUNK.format(number=number, begin=begin, end=begin + DAY_SECONDS))


class Cost(NamedTuple):
    """What the snapshot query of an event has cost."""

    blocks: int
    """Of 8 KB, looked at in memory or read."""
    rows: float
    """Of `positions`, looked at for one device, at most."""
    probes: list[tuple[str, int]]
    """How `positions` was read, and how often."""
    milliseconds: float


def cost_of(database: Database, event: str) -> Cost:
    """Run the snapshot query of an event and return what the server says that it took."""
    for name, value in PLANNING.items():
        database.execute("SELECT set_config(%s, %s, false)", (name, value))
    [[[explained]]] = database.execute(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query_with(attributes=True)}", (event,)
    )
    plan = explained["Plan"]
    scans = list(_scans(plan))
    return Cost(
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        max(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) for scan in scans),
        [(scan["Node Type"], scan["Actual Loops"]) for scan in scans],
        explained["Execution Time"],
    )


def _scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the nodes of a plan that read `positions` or a chunk of it."""
    if plan.get("Relation Name", "").startswith("positions"):
        yield plan
    for inner in plan.get("Plans", []):
        yield from _scans(inner)
