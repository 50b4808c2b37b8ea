"""Whatever stands in the tables: one bad row hides no other, and what is no position is not shown."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web

from processor_live import Position, Row
from processor_live.framing import position_entry
from processor_live_postgres.snapshot import MAX_ATTRIBUTES_CHARACTERS
from tests.postgres.conftest import A_SECOND, MOMENT, TS, rows
from tests.running import app_with, running
from tests.servers import Database

NOWHERE = [
    {"latitude": float("nan")},
    {"longitude": float("nan")},
    {"latitude": float("inf")},
    {"latitude": 90.0001},
    {"longitude": -180.0001},
    {"latitude": 0, "longitude": 0, "satellites": 0},
]


@pytest.mark.parametrize("place", NOWHERE)
async def test_a_row_that_is_nowhere_on_earth_gives_way_to_the_next_best(
    app: web.Application, database: Database, event: str, place: dict[str, Any]
) -> None:
    database.register(event, "1")
    database.add_position("1", MOMENT - A_SECOND, 41.1)
    database.add_position("1", MOMENT, **place)
    assert await rows(app, event) == {"1": Row("1", Position("1", 41.1, 19.82, TS - 1_000), TS)}


async def test_zero_zero_with_satellites_and_the_poles_are_places(
    app: web.Application, database: Database, event: str
) -> None:
    places = {"1": (0, 0, 3), "2": (90, 180, 0), "3": (-90, -180, 0)}
    database.register(event, *places)
    for imei, (latitude, longitude, satellites) in places.items():
        database.add_position(imei, MOMENT, latitude, longitude, satellites=satellites)
    shown = {imei: row.position for imei, row in (await rows(app, event)).items()}
    assert {imei: (each.lat, each.lon) for imei, each in shown.items() if each} == {
        imei: place[:2] for imei, place in places.items()
    }


async def test_a_row_dated_by_a_bad_clock_is_as_if_it_were_not_there(
    app: web.Application, database: Database, event: str
) -> None:
    """It would freeze its device: nothing on the stream would ever be newer."""
    database.register(event, "1", "2", "3")
    database.add_position("1", MOMENT)
    early = datetime.now(UTC) + timedelta(minutes=5)
    database.add_position("1", early)
    database.execute("UPDATE positions SET ingested_at = %s WHERE ts = %s", (early, early))
    database.add_position("2", MOMENT)
    database.add_position("3", datetime(1969, 12, 31, tzinfo=UTC))
    late = MOMENT + timedelta(minutes=5)
    database.add_position("2", late)  # in the past by now, but it was not when it came
    database.execute("UPDATE positions SET ingested_at = %s WHERE ts = %s", (late - timedelta(seconds=61), late))
    assert {imei: row.newest_ts for imei, row in (await rows(app, event)).items()} == {"1": TS, "2": TS, "3": None}
    database.execute("UPDATE positions SET ingested_at = %s WHERE ts = %s", (late - timedelta(seconds=60), late))
    assert (await rows(app, event))["2"].newest_ts == TS + 300_000


@pytest.mark.parametrize(("speed", "angle"), [(0, 0), (-1, -1), (1_001, 361), (float("nan"), float("nan"))])
async def test_speed_and_course_are_absent_when_zero_or_absurd(
    app: web.Application, database: Database, event: str, speed: float, angle: float
) -> None:
    database.register(event, "1")
    database.add_position("1", MOMENT, speed=speed, angle=angle)
    position = (await rows(app, event))["1"].position
    assert position is not None
    assert (position.speed, position.course) == (None, None)


LOOSE = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.events (LIKE public.events);
CREATE TABLE {schema}.entries (LIKE public.entries);
CREATE TABLE {schema}.devices (id uuid, imei text);
CREATE TABLE {schema}.entry_devices (LIKE public.entry_devices);
CREATE TABLE {schema}.positions (
    device_id text, ts timestamptz, ingested_at timestamptz DEFAULT now(), latitude double precision,
    longitude double precision, altitude real, angle real, speed real, satellites smallint, priority smallint,
    codec text, attributes jsonb, faulty boolean
)
"""
"""The tables without a constraint or an index: what may stand in them that should not."""


@pytest.fixture
def loose(database: Database) -> Iterator[Database]:
    """A database that lets anything in."""
    schema = f"loose_{uuid.uuid4().hex}"
    database.execute(LOOSE.format(schema=schema))
    with closing(Database(f"{database.url}?options=-csearch_path%3D{schema}")) as loose:
        yield loose
    database.execute(f"DROP SCHEMA {schema} CASCADE")


ABSURD_DATES = [
    *("infinity", "-infinity", "294276-12-31 23:59:59", "9999-12-31 23:59:59", "10000-01-01"),
    *("4713-01-01 BC", "0001-01-01", "1969-12-31 23:59:59.999"),
]


@pytest.mark.parametrize("date", ABSURD_DATES)
async def test_a_row_with_an_absurd_date_is_as_if_it_were_not_there(
    app: web.Application, database: Database, event: str, date: str
) -> None:
    """Also where Python knows no such year."""
    database.register(event, "1", "2")
    database.add_position("1", MOMENT)
    for imei in "12":
        database.add_position(imei, MOMENT - A_SECOND)
        database.execute(
            "UPDATE positions SET ts = %s, ingested_at = ts WHERE device_id = %s AND ts = %s",
            (date, imei, MOMENT - A_SECOND),
        )
    found = await rows(app, event)
    assert (found["1"].newest_ts, found["2"]) == (TS, Row("2", None, None))


@pytest.mark.parametrize(("ingested", "shown"), [("infinity", TS), ("-infinity", None), (None, TS)])
async def test_a_row_is_believed_unless_it_came_before_its_time(
    loose: Database, event: str, ingested: str | None, shown: int | None
) -> None:
    loose.register(event, "1")
    loose.add_position("1", MOMENT)
    loose.execute("UPDATE positions SET ingested_at = %s", (ingested,))
    async with running(app_with("snapshot", POSTGRES_URL=loose.url)) as app:
        assert (await rows(app, event))["1"].newest_ts == shown


NULLABLE = ["altitude", "angle", "speed", "satellites", "priority", "codec", "attributes", "faulty", "ingested_at"]


@pytest.mark.parametrize("column", NULLABLE)
async def test_what_is_null_is_unknown_and_hides_nothing_else(loose: Database, event: str, column: str) -> None:
    loose.register(event, "1")
    loose.add_position("1", MOMENT, 41.1, 19.1, speed=50, angle=90)
    loose.execute(f"UPDATE positions SET {column} = NULL")  # noqa: S608 - ours
    shown = Position("1", 41.1, 19.1, TS, None if column == "speed" else 50, None if column == "angle" else 90)
    async with running(app_with("snapshot", POSTGRES_URL=loose.url, LIVE_INCLUDE_ATTRIBUTES="true")) as app:
        [row] = (await rows(app, event)).values()
    assert row.position is not None
    assert (msgspec.structs.replace(row.position, attributes=None), row.newest_ts) == (shown, TS)


@pytest.mark.parametrize("column", ["latitude", "longitude", "ts", "device_id"])
async def test_a_row_that_lacks_what_a_position_needs_gives_way_to_the_next_best(
    loose: Database, event: str, column: str
) -> None:
    loose.register(event, "1")
    loose.add_position("1", MOMENT - A_SECOND, 41.1)
    loose.add_position("1", MOMENT)
    loose.execute(f"UPDATE positions SET {column} = NULL WHERE ts = %s", (MOMENT,))  # noqa: S608 - ours
    async with running(app_with("snapshot", POSTGRES_URL=loose.url)) as app:
        assert (await rows(app, event))["1"].position == Position("1", 41.1, 19.82, TS - 1_000)


ODD_NAMES = [
    "1'; DROP TABLE positions; --",
    '"',
    "%s",
    "%(a)s",
    "a\nb",
    "../../etc/passwd",
    "\u200b",
    "\U0001f697" * 16,
]


async def test_a_device_may_be_called_what_it_likes(app: web.Application, database: Database, event: str) -> None:
    database.register(event, *ODD_NAMES)
    for imei in ODD_NAMES:
        database.add_position(imei, MOMENT)
    found = await rows(app, event)
    assert set(found) == set(ODD_NAMES)
    for imei, row in found.items():
        assert row.position is not None
        assert json.loads(position_entry(row.position))["deviceId"] == imei


async def test_a_device_without_a_name_or_with_an_endless_one_is_none(loose: Database, event: str) -> None:
    """With some of a megabyte a snapshot would be more than a connection takes; on the stream they are none either."""
    loose.register(event, "", "x" * 64, "x" * 65, "y" * 1_000_000)
    loose.execute("INSERT INTO devices VALUES (gen_random_uuid(), NULL)")
    loose.execute("INSERT INTO entry_devices SELECT gen_random_uuid(), entries.id, devices.id FROM entries, devices")
    async with running(app_with("snapshot", POSTGRES_URL=loose.url)) as app:
        assert set(await rows(app, event)) == {"x" * 64}


async def test_attributes_without_end_are_left_out(database: Database, event: str) -> None:
    database.register(event, "1", "2")
    room = MAX_ATTRIBUTES_CHARACTERS - len('{"a": ""}')
    database.add_position("1", MOMENT, attributes={"a": "x" * room})
    database.add_position("2", MOMENT, attributes={"a": "x" * (room + 1)})
    async with running(app_with("snapshot", POSTGRES_URL=database.url, LIVE_INCLUDE_ATTRIBUTES="true")) as app:
        entries = {
            imei: json.loads(position_entry(row.position))
            for imei, row in (await rows(app, event)).items()
            if row.position
        }
    assert len(entries["1"]["attributes"]["a"]) == room
    assert "attributes" not in entries["2"]
