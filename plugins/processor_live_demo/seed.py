"""What stands in Postgres when the rally is already on its way: the roster, and the positions of the last minutes."""

from contextlib import closing
from importlib.resources import files

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 names its classes in lower case
from psycopg2.extras import execute_values

from processor_live_demo.rally import Rally
from processor_live_demo.recorder import insert, row_of
from processor_live_demo.roster import Roster

HISTORY_S = 300


def seed(postgres_url: str, rally: Rally, now: float) -> None:
    """Create the tables, store the roster, and drive the rally to `now` (epoch seconds) for the history.

    The newest row of one device is made faulty, half a degree off its road, and the device stays out of coverage for a
    while, so that a snapshot has to go back to the row before. Raises psycopg2.Error.
    """
    with closing(psycopg2.connect(postgres_url)) as connection:
        create_schema(connection)
        store_roster(connection, rally.roster)
        rally.lose(rally.roster.faulty, now)
        insert(connection, (row_of(record.payload, record.codec) for record in rally.tick(now)))
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE positions SET faulty = true, latitude = latitude + 0.5 WHERE (device_id, ts) ="
                " (SELECT device_id, max(ts) FROM positions WHERE device_id = %s GROUP BY device_id)",
                [rally.roster.faulty.imei],
            )
            cursor.execute("ANALYZE")


def create_schema(connection: Connection) -> None:
    """Create the tables of docs/contract.md §6.2; raises psycopg2.Error, also when one is there already."""
    with connection, connection.cursor() as cursor:
        cursor.execute(files("processor_live_demo").joinpath("schema.sql").read_text(encoding="utf-8"))


def store_roster(connection: Connection, roster: Roster) -> None:
    """Store devices, events, entries and which device is in which entry."""
    entries = [(event, entry) for event in roster.events for entry in event.entries]
    # An entry and its only mounting may share their id: they are of different tables.
    tables: dict[str, list[tuple[str, ...]]] = {
        "devices (id, imei)": [(device.id, device.imei) for device in roster.devices],
        "events (id, organization_id)": [(event.id, event.organization_id) for event in roster.events],
        "entries (id, event_id)": [(entry.id, event.id) for event, entry in entries],
        "entry_devices (id, entry_id, device_id)": [(entry.id, entry.id, entry.device.id) for _, entry in entries],
    }
    with connection, connection.cursor() as cursor:
        for table, rows in tables.items():
            execute_values(cursor, f"INSERT INTO {table} VALUES %s", rows)  # noqa: S608 - the names are ours, just above
