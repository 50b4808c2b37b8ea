"""Which topics a device has is read from the database again and again, and silent emptiness shows."""

import asyncio
from collections.abc import AsyncIterator

import psycopg2
import pytest
from aiohttp import web

from processor_live import Position
from processor_live.health import HEALTH
from processor_live.hub import HUB
from processor_live.slots import ROUTE
from processor_live_postgres import database as database_module
from processor_live_postgres.routing import SUSPICIOUS_SAMPLE, Routing
from tests.core.wire import Client, metric
from tests.running import Diary, app_with, problem, running, until
from tests.servers import Database


@pytest.fixture
def app() -> web.Application:
    """An application whose routing is the test's own; it does not run."""
    return app_with(",")


@pytest.fixture
async def routing(app: web.Application, database: Database) -> AsyncIterator[Routing]:
    """A routing table that is read when the test says so."""
    pool = database_module.Database(database.url, size=1, timeout_ms=5_000)
    routing = Routing(pool, app[HUB], app[HEALTH], refresh_s=0.1)
    app[ROUTE].fill(routing.topics)
    yield routing
    await pool._forget_idle()


async def test_a_device_has_the_topics_of_its_events_and_an_orphan_none(routing: Routing, database: Database) -> None:
    one, two, three = sorted(database.add_event() for _ in range(3))
    database.register(one, "1", "2")
    database.register(two, "2")
    database.register(two, "2")
    database.register(three, "3")
    database.add_device("4")
    assert routing.topics("1") == ()
    await routing.refresh()
    assert routing.topics("1") == (f"event:{one}",)
    assert routing.topics("2") == (f"event:{one}", f"event:{two}")
    assert routing.topics("3") == (f"event:{three}",)
    assert routing.topics("4") == routing.topics("unheard-of") == ()
    assert metric("live_routing_devices") == 3


async def test_a_topic_is_spelt_as_clients_subscribe_to_it(routing: Routing, database: Database) -> None:
    event = "ABCDEF00-0000-4000-8000-000000000001"
    database.execute("INSERT INTO events VALUES (%s, %s)", (event, event))
    database.register(event, "1")
    await routing.refresh()
    assert routing.topics("1") == (f"event:{event.lower()}",)


async def test_devices_go_by_their_imei_and_never_by_their_uuid(
    routing: Routing, database: Database, event: str
) -> None:
    device = database.add_device("352093080000001")
    database.add_registration(database.add_entry(event), device)
    await routing.refresh()
    assert routing.topics("352093080000001") == (f"event:{event}",)
    assert routing.topics(device) == ()


async def test_a_refresh_brings_the_new_and_takes_the_gone(routing: Routing, database: Database, event: str) -> None:
    database.register(event, "1")
    await routing.refresh()
    before = metric("live_routing_loaded_timestamp_seconds")
    database.execute("DELETE FROM entry_devices")
    database.register(event, "2")
    assert routing.topics("1") == (f"event:{event}",)
    await routing.refresh()
    assert (routing.topics("1"), routing.topics("2")) == ((), (f"event:{event}",))
    assert metric("live_routing_loaded_timestamp_seconds") > before > 0


async def test_a_table_is_never_seen_half_made(
    routing: Routing, database: Database, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device with two events would lose one for a moment."""
    monkeypatch.setattr("processor_live_postgres.routing.ROWS_PER_TURN", 1)
    monkeypatch.setattr("processor_live_postgres.database.ROWS_PER_TURN", 1)
    other = database.add_event()
    imeis = [str(number) for number in range(20)]
    database.register(event, *imeis)
    await routing.refresh()
    database.register(other, *imeis)
    refresh = asyncio.create_task(routing.refresh())
    seen = set()
    while not refresh.done():
        seen.add(tuple(len(routing.topics(imei)) for imei in imeis))
        await asyncio.sleep(0)
    await refresh
    assert seen | {(2,) * 20} == {(1,) * 20, (2,) * 20}
    assert {len(routing.topics(imei)) for imei in imeis} == {2}


async def test_until_the_table_is_read_the_service_is_unready(
    app: web.Application, routing: Routing, database: Database, event: str
) -> None:
    database.register(event, "1")
    assert app[HEALTH].status == "unready"
    await routing.refresh()
    assert app[HEALTH].status == "ready"


async def test_when_the_service_is_ready_a_topic_has_all_that_the_stream_has_shown_before(
    app: web.Application, routing: Routing, database: Database, event: str
) -> None:
    database.register(event, "1")
    app[HUB].publish(Position("1", 41.5, 19.5, 1))
    refreshing = asyncio.create_task(routing.refresh())
    await until(lambda: app[HEALTH].status == "ready")
    assert len(app[HUB].join(Client().connection, f"event:{event}", ())) == 1
    await refreshing


async def test_an_empty_table_degrades(app: web.Application, routing: Routing, database: Database, event: str) -> None:
    await routing.refresh()
    assert app[HEALTH].status == "degraded"
    assert "no device is registered" in str(problem(app, "routing-refresh"))
    database.register(event, "1")
    await routing.refresh()
    assert app[HEALTH].status == "ready"


async def test_a_newly_registered_device_is_shown_to_who_is_already_there(
    app: web.Application, routing: Routing, database: Database, event: str
) -> None:
    topic = f"event:{event}"
    database.register(event, "1")
    await routing.refresh()
    client, hub = Client(), app[HUB]
    hub.join(client.connection, topic, [])
    hub.publish(Position("2", 41, 19, 1_000))
    database.register(event, "2")
    await routing.refresh()
    await hub.flush()
    assert client.positions(topic) == [("2", 1_000)]
    await routing.refresh()
    await hub.flush()
    assert client.positions(topic) == [("2", 1_000)], "once"


async def test_a_device_that_changes_its_event_is_shown_to_who_is_there_and_no_more_where_it_was(
    app: web.Application, routing: Routing, database: Database, event: str
) -> None:
    other = database.add_event()
    database.register(event, "1")
    await routing.refresh()
    before, after, hub = Client(), Client(), app[HUB]
    hub.join(before.connection, f"event:{event}", [])
    hub.join(after.connection, f"event:{other}", [])
    hub.publish(Position("1", 41, 19, 1_000))
    await hub.flush()
    database.execute("UPDATE entries SET event_id = %s", (other,))
    await routing.refresh()
    await hub.flush()
    assert before.positions(f"event:{event}") == after.positions(f"event:{other}") == [("1", 1_000)]
    hub.publish(Position("1", 41, 19, 2_000))
    await hub.flush()
    assert before.positions(f"event:{event}") == [("1", 1_000)]
    assert after.positions(f"event:{other}") == [("1", 1_000), ("1", 2_000)]


def publish(app: web.Application, device: str, ts: int, count: int) -> None:
    """Publish so many newest positions of a device."""
    for step in range(count):
        app[HUB].publish(Position(device, 41, 19, ts + step))


async def test_what_came_before_the_table_was_read_first_tells_nothing_about_orphans(
    app: web.Application, routing: Routing, database: Database, event: str
) -> None:
    database.register(event, "1")
    publish(app, "1", 1_000, SUSPICIOUS_SAMPLE)
    await routing.refresh()
    assert problem(app, "orphans") is None
    publish(app, "1", 2_000, SUSPICIOUS_SAMPLE)
    await routing.refresh()
    assert metric("live_orphan_ratio") == 0


async def test_many_orphans_degrade_and_few_do_not(
    app: web.Application, routing: Routing, database: Database, event: str
) -> None:
    database.register(event, "1")
    await routing.refresh()
    half = SUSPICIOUS_SAMPLE // 2
    publish(app, "1", 1_000, half - 1)
    publish(app, "orphan", 1_000, half + 1)
    await routing.refresh()
    assert "51%" in str(problem(app, "orphans"))
    assert app[HEALTH].status == "degraded"
    assert metric("live_orphan_ratio") == pytest.approx(0.51)
    publish(app, "orphan", 2_000, SUSPICIOUS_SAMPLE - 1)
    publish(app, "1", 500, SUSPICIOUS_SAMPLE)
    await routing.refresh()
    assert problem(app, "orphans") is not None, "late positions are no news, and so few tell nothing"
    publish(app, "1", 3_000, SUSPICIOUS_SAMPLE - 1)
    await routing.refresh()
    assert metric("live_orphan_ratio") == pytest.approx(0.5)
    assert problem(app, "orphans") is None


async def test_it_refreshes_by_itself_and_a_failed_refresh_keeps_the_table_and_is_told(
    database: Database, event: str, diary: Diary
) -> None:
    database.register(event, "1")
    app = app_with("routing", POSTGRES_URL=database.url, LIVE_DEVICE_EVENT_REFRESH_MS="100")
    async with running(app):
        assert "devices=1" in await diary.line("routing.changed")
        assert app[ROUTE].answer("1") == (f"event:{event}",)
        database.execute("ALTER TABLE entry_devices RENAME TO mislaid")
        try:
            assert "UndefinedTable" in await diary.line("check.failing check=routing-refresh")
            assert "UndefinedTable" in str(problem(app, "routing-refresh"))
            assert app[HEALTH].status == "degraded"
            assert app[ROUTE].answer("1") == (f"event:{event}",)
        finally:
            database.execute("ALTER TABLE mislaid RENAME TO entry_devices")
        await diary.line("check.good check=routing-refresh")
        database.register(event, "2")
        assert "devices=2" in await diary.line("routing.changed")
        assert app[ROUTE].answer("2") == (f"event:{event}",)


async def test_a_server_that_kills_the_connection_costs_no_refresh(
    database: Database, event: str, diary: Diary
) -> None:
    database.register(event, "1")
    app = app_with("routing", POSTGRES_URL=database.url, LIVE_DEVICE_EVENT_REFRESH_MS="100")
    async with running(app):
        await diary.line("routing.changed")
        database.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'processor-live'"
        )
        database.register(event, "2")
        await diary.line("routing.changed")
    assert diary.count("check.failing") == 0


async def test_a_server_that_is_not_there_leaves_the_service_unready(unused_tcp_port: int, diary: Diary) -> None:
    url = f"postgresql://live@127.0.0.1:{unused_tcp_port}/rally"
    async with running(app_with("routing", POSTGRES_URL=url)) as app:
        assert "OperationalError" in await diary.line("check.failing check=routing-refresh")
        assert problem(app, "routing") == "not read yet: nobody would see anything"
        assert app[HEALTH].status == "unready"


async def test_a_failed_reading_raises(routing: Routing, database: Database) -> None:
    database.execute("ALTER TABLE devices RENAME TO mislaid")
    try:
        with pytest.raises(psycopg2.errors.UndefinedTable):
            await routing.refresh()
    finally:
        database.execute("ALTER TABLE mislaid RENAME TO devices")
