"""Where was every device of an event last? The answer of the `SNAPSHOT` slot (docs/contract.md §6.2)."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg2
from aiohttp import web
from prometheus_async.aio import time
from prometheus_client import Histogram

from processor_live import (
    ENVIRON,
    FULL_TURN_DEGREES,
    HEALTH,
    MAX_SPEED_KMH,
    SETTINGS,
    SNAPSHOT,
    Position,
    Row,
    SingleFlight,
    known,
    load,
    one_line,
)
from processor_live_postgres.database import Database, PostgresSettings

SECONDS = Histogram("live_snapshot_seconds", "One snapshot query; who subscribes at about the same moment shares it")

QUERY = """
WITH device AS (
    SELECT DISTINCT devices.imei
    FROM entries
    JOIN entry_devices ON entry_devices.entry_id = entries.id
    JOIN devices ON devices.id = entry_devices.device_id  -- a uuid; positions know the device by its IMEI
    WHERE entries.event_id = %s::uuid AND length(devices.imei) BETWEEN 1 AND 64  -- as long as a record's may be
)
SELECT device.imei, newest.ts_ms, shown.ts_ms, shown.latitude, shown.longitude, shown.speed, shown.angle, {attributes}
FROM device
LEFT JOIN LATERAL (
    SELECT ts, ts_ms FROM ({recent}) AS recent WHERE {credible} ORDER BY ts DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT *
    FROM ({recent_of_newest}) AS recent
    WHERE {credible}
      AND faulty IS NOT TRUE
      AND latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180  -- NaN is above every number
      AND (latitude = 0 AND longitude = 0 AND satellites = 0) IS NOT TRUE  -- no fix
    ORDER BY ts DESC
    LIMIT 1
) AS shown ON true
"""
"""Two index probes per device, LATERAL because DISTINCT ON would read every device's whole history.

Where the table is in chunks of a day, the first looks for the device in chunk after chunk, back in time; the second
begins where the first has ended. The day before a race most devices have been silent for months, some for ever.
"""
RECENT = """
        SELECT *, round(extract(epoch FROM date_trunc('milliseconds', ts)) * 1000)::bigint AS ts_ms
        FROM positions
        WHERE device_id = device.imei AND ts > 'epoch' AND ts <= {until}
        ORDER BY ts DESC
        LIMIT 10000
    """
"""As many rows as are looked at to find one that may be shown: some hours of them, some milliseconds. The bounds, which
are the index's, leave out what is dated before 1970 or in the future."""
CREDIBLE = "ts <= coalesce(ingested_at, now()) + interval '60 seconds'"
"""Not from a clock that was ahead: such a row would freeze its device (docs/contract.md §6.1). A device may have sent
nothing else for months, so this is asked of the recent rows only."""
PLANNING = {"random_page_cost": "0.01"}
"""Each device's newest rows are in memory, and wherever they lie, two probes of its own index cost next to nothing.

Taken for random reads from a disk, they look dear: where few devices drive, Postgres would go back in time through the
rows of all of them, past the last row of one that has been silent for months; in a young table it would read each
device's whole history, because between two bounds, of which it knows one only when it runs, it expects no rows.
"""
MAX_ATTRIBUTES_CHARACTERS = 65_536
"""Longer ones are left out: with them `subscribed` could be more than a connection takes (docs/contract.md §3)."""
ATTRIBUTES = f"left(shown.attributes::text, {MAX_ATTRIBUTES_CHARACTERS + 1})"
EVENT_TOPIC = re.compile(r"event:([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII)
"""Of any other topic, which another plugin may serve, Postgres knows nothing, and what is no uuid would be an error."""
SPACING_SECONDS = 0.1
"""Between two queries for one event: thousands who subscribe within a second cost ten."""


def setup(app: web.Application) -> None:
    """Answer what Postgres knows of an event's devices."""
    settings = load(PostgresSettings, app[ENVIRON])
    database = Database(
        settings.url, size=settings.pool_size, timeout_ms=settings.snapshot_timeout_ms, session=PLANNING
    )
    app.cleanup_ctx.append(database.context)
    check = app[HEALTH].check("snapshot")
    query = query_with(attributes=app[SETTINGS].include_attributes)
    flight = SingleFlight[str, list[Row]](SPACING_SECONDS)

    @time(SECONDS)
    async def read(event_id: str) -> list[Row]:
        try:
            rows = [row_of(*columns) for columns in await database.rows(query, (event_id,))]
        except (psycopg2.Error, OSError) as error:
            check.failing(one_line(error))
            raise
        check.good()
        return rows

    async def snapshot(topic: str) -> Iterable[Row]:
        event = EVENT_TOPIC.fullmatch(topic)
        if event is None:
            return ()
        event_id = event[1]
        return await flight.ask(event_id, lambda: read(event_id))

    app[SNAPSHOT].fill(snapshot)


def query_with(*, attributes: bool) -> str:
    """Return the query, whose one parameter is the event's id."""
    return QUERY.format(
        attributes=ATTRIBUTES if attributes else "NULL",
        recent=RECENT.format(until="now() + interval '60 seconds'"),
        recent_of_newest=RECENT.format(until="newest.ts"),
        credible=CREDIBLE,
    )


def row_of(  # noqa: PLR0913, PLR0917 - one argument for each column
    device_id: str,
    newest_ts: int | None,
    ts: int | None,
    lat: float,
    lon: float,
    speed: float | None,
    angle: float | None,
    attributes: str | None,
) -> Row:
    """Return a row of the query; all columns but the first are None where the device has no such row."""
    if ts is None:
        return Row(device_id, None, newest_ts)
    extra = _object(attributes) if attributes else None
    position = Position(device_id, lat, lon, ts, known(speed, MAX_SPEED_KMH), known(angle, FULL_TURN_DEGREES), extra)
    return Row(device_id, position, newest_ts)


def _object(attributes: str) -> Any:  # noqa: ANN401 - as Position has it
    if len(attributes) > MAX_ATTRIBUTES_CHARACTERS or not attributes.startswith("{"):
        return None
    return msgspec.Raw(attributes.encode())
