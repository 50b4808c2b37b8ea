"""A snapshot is what the durable store knows of an event's devices, at one or two index probes each."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import timedelta

import psycopg2
import pytest
from aiohttp import web

from processor_live import Position, Row
from processor_live.framing import position_entry
from processor_live.slots import SNAPSHOT
from tests.core.wire import metric
from tests.postgres.conftest import A_SECOND, MOMENT, TS, rows, until_a_query_waits
from tests.running import Diary, app_with, problem, running
from tests.servers import Database


async def test_a_row_is_the_newest_position_of_a_device_by_its_imei(
    app: web.Application, database: Database, event: str
) -> None:
    database.register(event, "352093080000001")
    database.add_position("352093080000001", MOMENT - A_SECOND, 1, 2)
    database.add_position("352093080000001", MOMENT, 41.33, 19.82, speed=87.5, angle=142)
    database.add_position("352093080000001", MOMENT - 2 * A_SECOND, 3, 4)
    shown = Position("352093080000001", 41.33, 19.82, TS, 87.5, 142)
    assert await rows(app, event) == {"352093080000001": Row("352093080000001", shown, TS)}


async def test_a_device_without_a_position_is_a_row_without_one(
    app: web.Application, database: Database, event: str
) -> None:
    database.register(event, "1")
    assert await rows(app, event) == {"1": Row("1", None, None)}


async def test_an_event_without_devices_and_an_unknown_one_have_no_rows(app: web.Application, event: str) -> None:
    assert await rows(app, event) == {}
    assert await rows(app, str(uuid.uuid4())) == {}


@pytest.mark.parametrize(
    "topic",
    ["event:none", "event:", "event", "", "team:{event}", "event:{EVENT}", "event:{event}\n", "event:{{{event}}}"],
)
async def test_of_a_topic_that_another_plugin_serves_nothing_is_known_and_postgres_is_not_asked(
    app: web.Application, database: Database, event: str, topic: str
) -> None:
    """Nor is it blamed, for not knowing such a uuid: `event:none` is in the guide to plugins."""
    database.register(event, "1")
    before = metric("live_snapshot_seconds_count")
    assert list(await app[SNAPSHOT].answer(topic.format(event=event, EVENT=event.upper()))) == []
    assert metric("live_snapshot_seconds_count") == before
    assert problem(app, "snapshot") is None


async def test_only_devices_of_the_event_are_in_it_each_once_and_a_device_may_be_in_two(
    app: web.Application, database: Database, event: str
) -> None:
    other = database.add_event()
    database.register(event, "1", "2")
    database.register(event, "1")
    database.register(other, "2", "3")
    for imei in "1234":
        database.add_position(imei, MOMENT)
    assert set(await rows(app, event)) == {"1", "2"}
    assert set(await rows(app, other)) == {"2", "3"}


async def test_a_uuid_that_looks_like_an_imei_is_none(app: web.Application, database: Database, event: str) -> None:
    """Positions go by the IMEI, registrations by the uuid; who joins them directly sees this row."""
    device = database.add_device("352093080000001")
    database.add_registration(database.add_entry(event), device)
    database.add_position(device, MOMENT)
    assert await rows(app, event) == {"352093080000001": Row("352093080000001", None, None)}


async def test_a_time_is_rounded_down_to_milliseconds_as_the_stream_does_it(
    app: web.Application, database: Database, event: str
) -> None:
    database.register(event, "1")
    database.add_position("1", MOMENT + timedelta(microseconds=999_999))
    row = (await rows(app, event))["1"]
    assert row.position is not None
    assert (row.position.ts, row.newest_ts) == (TS + 999, TS + 999)


async def test_a_faulty_newest_row_gives_way_to_the_next_best_but_its_time_is_told(
    app: web.Application, database: Database, event: str
) -> None:
    database.register(event, "1", "2")
    database.add_position("1", MOMENT - 2 * A_SECOND, 41.1)
    database.add_position("1", MOMENT - A_SECOND, 41.2, faulty=True)
    database.add_position("1", MOMENT, 41.3, faulty=True)
    database.add_position("2", MOMENT, faulty=True)
    found = await rows(app, event)
    assert found["1"] == Row("1", Position("1", 41.1, 19.82, TS - 2_000), TS)
    assert found["2"] == Row("2", None, TS)


async def test_attributes_come_only_when_asked_for(app: web.Application, database: Database, event: str) -> None:
    attributes = {"239": 1, "66": {"__bigint": "18446744073709551615"}, "text": "Durrës"}
    database.register(event, "1", "2")
    database.add_position("1", MOMENT, attributes=attributes)
    database.add_position("2", MOMENT)
    database.execute("UPDATE positions SET attributes = '[1]' WHERE device_id = '2'")
    asked = app_with("snapshot", POSTGRES_URL=database.url, LIVE_INCLUDE_ATTRIBUTES="true")
    async with running(asked):
        shown = {
            imei: json.loads(position_entry(row.position))
            for imei, row in (await rows(asked, event)).items()
            if row.position
        }
    assert shown["1"]["attributes"] == attributes
    assert "attributes" not in shown["2"], "a list is none"
    position = (await rows(app, event))["1"].position
    assert position is not None
    assert position.attributes is None


async def test_those_who_ask_at_the_same_moment_share_one_query_and_nobody_after_them_does(
    app: web.Application, database: Database, event: str
) -> None:
    other = database.add_event()
    database.register(event, "1")
    before = metric("live_snapshot_seconds_count")
    together = await asyncio.gather(*[rows(app, each) for each in [event] * 50 + [other] * 50])
    assert [set(found) for found in together] == [{"1"}] * 50 + [set()] * 50
    assert metric("live_snapshot_seconds_count") - before == 2
    database.register(event, "2")
    assert set(await rows(app, event)) == {"1", "2"}
    assert metric("live_snapshot_seconds_count") - before == 3


TOLD = """
CREATE SCHEMA {schema};
CREATE VIEW {schema}.entries AS
    SELECT * FROM public.entries WHERE current_setting('random_page_cost')::float < 0.1
"""


async def test_postgres_is_told_what_the_plan_of_the_query_needs(database: Database, event: str) -> None:
    """The tests of its cost tell it themselves."""
    database.register(event, "1")
    schema = f"told_{uuid.uuid4().hex}"
    database.execute(TOLD.format(schema=schema))
    async with running(
        app_with("snapshot", POSTGRES_URL=f"{database.url}?options=-csearch_path%3D{schema},public")
    ) as app:
        assert set(await rows(app, event)) == {"1"}
    database.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def locked(database: Database) -> Iterator[Database]:
    """Let every query of positions wait, until the test rolls back."""
    database.execute("BEGIN")
    database.execute("LOCK TABLE positions")
    yield database
    database.execute("ROLLBACK")


async def test_a_database_that_takes_too_long_is_told_and_forgiven(locked: Database, event: str, diary: Diary) -> None:
    async with running(app_with("snapshot", POSTGRES_URL=locked.url, LIVE_SNAPSHOT_TIMEOUT_MS="500")) as app:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await rows(app, event)
        assert "TimeoutError" in str(problem(app, "snapshot"))
        locked.execute("ROLLBACK")
        locked.execute("BEGIN")
        await rows(app, event)
        assert problem(app, "snapshot") is None
    assert diary.count("check.failing check=snapshot") == 1


async def test_who_leaves_while_waiting_takes_the_answer_from_nobody(
    app: web.Application, locked: Database, event: str
) -> None:
    first, second = [asyncio.create_task(rows(app, event)) for _ in range(2)]
    await until_a_query_waits(locked)
    first.cancel()
    locked.execute("ROLLBACK")
    locked.execute("BEGIN")
    assert await second == {}
    assert first.cancelled()


TABLES = """
CREATE TABLE {schema}.entries (LIKE public.entries);
CREATE TABLE {schema}.devices (LIKE public.devices);
CREATE TABLE {schema}.entry_devices (LIKE public.entry_devices);
CREATE TABLE {schema}.positions (LIKE public.positions)
"""


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("DROP TABLE {schema}.positions", "UndefinedTable"),
        ("DROP TABLE {schema}.entries", "UndefinedTable"),
        ("ALTER TABLE {schema}.positions DROP COLUMN faulty", "UndefinedColumn"),
        ("ALTER TABLE {schema}.positions RENAME COLUMN device_id TO imei", "UndefinedColumn"),
        ("ALTER TABLE {schema}.entry_devices ALTER COLUMN device_id TYPE text", "UndefinedFunction"),
    ],
)
async def test_a_schema_that_is_not_the_deployed_one_is_told(
    database: Database, event: str, diary: Diary, damage: str, error: str
) -> None:
    """Upstream it raised 42883, the snapshot failed open, and nobody was told."""
    schema = f"damaged_{uuid.uuid4().hex}"
    database.execute(f"CREATE SCHEMA {schema}")
    try:
        database.execute(f"{TABLES};{damage}".format(schema=schema))
        url = f"{database.url}?options=-csearch_path%3D{schema}"
        async with running(app_with("snapshot", POSTGRES_URL=url)) as app:
            with pytest.raises(psycopg2.ProgrammingError):
                await rows(app, event)
            assert error in str(problem(app, "snapshot"))
            assert error in await diary.line("check.failing check=snapshot")
    finally:
        database.execute(f"DROP SCHEMA {schema} CASCADE")


async def test_a_server_that_is_not_there_is_told(unused_tcp_port: int, event: str) -> None:
    url = f"postgresql://live@127.0.0.1:{unused_tcp_port}/rally"
    async with running(app_with("snapshot", POSTGRES_URL=url)) as app:
        with pytest.raises(psycopg2.OperationalError):
            await rows(app, event)
        assert "refused" in str(problem(app, "snapshot"))
