"""An event whose devices have driven for days is shown as quickly as one that has just begun."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.postgres.history import BEGIN, cost_of
from tests.servers import Database

LONG, SHORT, DEVICES = 500_000, 500, 20
MANY = 500
"""Devices of the largest event there is; those that have driven for long are among them."""
DRIVEN = """
INSERT INTO positions (device_id, ts, ingested_at, latitude, longitude, altitude, angle, speed, satellites, priority,
    codec)
SELECT %(name)s || device, to_timestamp(%(begin)s + step), to_timestamp(%(begin)s + step), 41, 19, 0, 0, 0, 9, 0, '8'
FROM generate_series(1, %(rows)s) AS step, generate_series(1, %(devices)s) AS device
"""
"""As they come: a row of every device, then the next one of every device."""
INDEXES = """
CREATE UNIQUE INDEX ON positions (device_id, ts);
CREATE INDEX ON positions (device_id, ts DESC);
CREATE INDEX ON positions (ts DESC);
ANALYZE
"""


@pytest.fixture(scope="module")
def history(postgres_server_url: str) -> Iterator[Database]:
    """Ten million rows: 20 devices with half a million each, and 480 with 500 each."""
    with Database.created_on(postgres_server_url) as url, closing(Database(url)) as database:
        database.execute("ALTER TABLE positions DROP CONSTRAINT positions_device_id_ts_key")
        database.execute("DROP INDEX positions_device_ts_idx, positions_ts_idx")
        for name, rows, devices in (("long", LONG, DEVICES), ("short", SHORT, MANY - DEVICES)):
            database.execute(DRIVEN, {"name": name, "rows": rows, "devices": devices, "begin": BEGIN})
        database.execute(INDEXES)
        yield database


def event_of(database: Database, *imeis: str) -> str:
    """Add an event of these devices and return its id."""
    event = database.add_event()
    database.register(event, *imeis)
    return event


@pytest.mark.timeout(1_800)
def test_half_a_million_rows_of_a_device_cost_what_five_hundred_do(history: Database) -> None:
    numbers = range(1, DEVICES + 1)
    long = event_of(history, *[f"long{number}" for number in numbers])
    short = event_of(history, *[f"short{number}" for number in numbers])
    history.execute("ANALYZE")
    of_long, of_short = [[cost_of(history, event) for _ in range(5)] for event in (long, short)]
    assert {cost.rows for cost in (*of_long, *of_short)} == {1}
    assert of_long[-1].blocks <= 1.2 * of_short[-1].blocks
    assert min(cost.milliseconds for cost in of_long) <= 3 * min(cost.milliseconds for cost in of_short)


@pytest.mark.timeout(1_800)
def test_the_largest_event_is_shown_in_a_fraction_of_the_timeout(history: Database) -> None:
    imeis = [f"long{n}" for n in range(1, DEVICES + 1)] + [f"short{n}" for n in range(1, MANY - DEVICES + 1)]
    event = event_of(history, *imeis)
    history.execute("ANALYZE")
    costs = [cost_of(history, event) for _ in range(5)]
    assert all(node.startswith("Index") and times == MANY for node, times in costs[-1].probes), costs[-1].probes
    assert costs[-1].blocks <= 20 * MANY
    assert min(cost.milliseconds for cost in costs) < 150, "a tenth of LIVE_SNAPSHOT_TIMEOUT_MS"
