"""Whatever becomes of Postgres, viewers go on, new ones get what the stream has shown, and it heals by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from typing import Self

import pytest

from processor_live_demo.embedded import cluster
from tests.core.wire import metric
from tests.integration.platform import EVENTUALLY_SECONDS, Live, Platform, moment, now_ms
from tests.integration.watching import Watching, watching
from tests.own_postgres import OwnPostgres
from tests.running import Diary
from tests.servers import Database

DRIVING, PARKED = "352093080000001", "352093080000002"
"""The one is on the stream, of the other only Postgres knows."""
PATIENT = {"LIVE_SNAPSHOT_TIMEOUT_MS": "10000"}
"""For what fails at once: if it is the test's machine that is slow, that is not the outage."""
PASSWORD = "q8zz7secret"
SET_PASSWORD = f"ALTER ROLE live PASSWORD '{PASSWORD}'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    """A server of these tests alone, which each of them leaves as it was."""
    with cluster(tmp_path_factory.mktemp("postgres")) as files:
        rules = files.data / "pg_hba.conf"
        rules.write_text(f"host all live 127.0.0.1/32 scram-sha-256\n{rules.read_text(encoding='utf-8')}", "utf-8")
        with closing(OwnPostgres(files)) as server:
            with closing(Database(server.url)) as database:
                database.execute(f"CREATE ROLE live LOGIN; {SET_PASSWORD}")
            yield server


@pytest.fixture
def database(server: OwnPostgres) -> Iterator[Database]:
    """A database on it, in the place of that of the other tests."""
    with Database.created_on(server.url) as url, closing(Database(url)) as database:
        yield database


class Outage:
    """A rally with a viewer who goes on watching, and what an outage of Postgres must look like to others."""

    def __init__(self, live: Live, diary: Diary, cookie: str, topic: str) -> None:
        self._live = live
        self._diary = diary
        self._cookie = cookie
        self._topic = topic
        self._watch: Watching

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Self]:
        """Let the device drive, and the viewer see each of its positions, for as long as this lasts."""
        viewer = await self._live.viewer(self._cookie)
        assert set(await viewer.snapshot(self._topic)) == {PARKED}, "from Postgres"
        async with watching(self._live.platform, viewer, DRIVING) as self._watch:
            await self._watch.goes_on()
            yield self

    async def newcomer_is_answered(self) -> bool:
        """Come as a new viewer, see all that this instance ever has, and return whether Postgres was any help."""
        failures, loop = metric("live_snapshot_failures_total"), asyncio.get_running_loop()
        began = loop.time()
        newcomer = await self._live.viewer(self._cookie)
        assert set(await newcomer.snapshot(self._topic)) == {DRIVING, PARKED}
        assert loop.time() - began < 5
        await newcomer.socket.close()
        return metric("live_snapshot_failures_total") == failures

    async def lasts(self, problem: str) -> None:
        """See that everybody is served without Postgres, and that the reason is told."""
        for _ in range(2):
            assert not await self.newcomer_is_answered()
            assert problem in (await self._live.until("degraded"))["checks"]["snapshot"]
            assert metric("live_check", check="snapshot") == 0
            await self._watch.goes_on()

    async def ends(self) -> None:
        """See that it does so by itself when a new viewer comes, and that the log has told of it once."""
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while not await self.newcomer_is_answered():
                pass
        await self._live.until("ready")
        await self._watch.goes_on()
        assert metric("live_check", check="snapshot") == 1
        for check in ("snapshot", "routing-refresh"):
            failed, healed = [self._diary.count(f"check.{state} check={check}") for state in ("failing", "good")]
            assert failed == healed <= 1, check
        assert self._diary.count(PASSWORD) == 0
        self._diary.lines.clear()


Begin = Callable[..., Awaitable[Outage]]


@pytest.fixture
async def begin(platform: Platform, diary: Diary, database: Database, cookie: str, event: str, topic: str) -> Begin:
    """Starts a service for a rally of two devices."""
    database.register(event, DRIVING, PARKED)
    database.add_position(PARKED, moment(now_ms() - 600_000))

    async def begin(**settings: str) -> Outage:
        live = await platform.start(LIVE_DEVICE_EVENT_REFRESH_MS="300", **settings)
        diary.lines.clear()
        return Outage(live, diary, cookie, topic)

    return begin


async def test_a_server_that_stops_and_starts_again(begin: Begin, server: OwnPostgres) -> None:
    async with (await begin(**PATIENT)).watched() as outage:
        server.close()
        await outage.lasts("refused")
        server.start()
        await outage.ends()


async def test_a_server_of_which_a_process_is_killed(begin: Begin, server: OwnPostgres) -> None:
    async with (await begin(**PATIENT)).watched() as outage:
        server.crash()
        await outage.ends()


async def test_a_server_that_freezes(begin: Begin, server: OwnPostgres) -> None:
    """Its connections stay open, and its kernel takes new ones."""
    async with (await begin()).watched() as outage:
        with server.frozen():
            await outage.lasts("within 1500 ms")
        await outage.ends()


async def test_a_table_that_somebody_locks(begin: Begin, database: Database) -> None:
    async with (await begin()).watched() as outage:
        database.execute("BEGIN")
        database.execute("LOCK TABLE positions")
        await outage.lasts("within 1500 ms")
        database.execute("ROLLBACK")
        await outage.ends()


DAMAGES = {
    "ALTER TABLE positions RENAME TO mislaid": ("UndefinedTable", "ALTER TABLE mislaid RENAME TO positions"),
    "ALTER TABLE entry_devices RENAME TO mislaid": ("UndefinedTable", "ALTER TABLE mislaid RENAME TO entry_devices"),
    "ALTER TABLE positions RENAME faulty TO wrong": ("UndefinedColumn", "ALTER TABLE positions RENAME wrong TO faulty"),
    "ALTER TABLE entry_devices DROP CONSTRAINT entry_devices_device_id_fkey, ALTER device_id TYPE text": (
        "UndefinedFunction",
        "ALTER TABLE entry_devices ALTER device_id TYPE uuid USING device_id::uuid",
    ),
}


async def test_a_schema_that_somebody_changes(begin: Begin, database: Database) -> None:
    """Upstream it was 42883, operator does not exist: uuid = text; every map was empty, and nobody was told."""
    async with (await begin(**PATIENT)).watched() as outage:
        for damage, (problem, repair) in DAMAGES.items():
            database.execute(damage)
            await outage.lasts(problem)
            database.execute(repair)
            await outage.ends()


async def test_a_password_that_is_changed_and_a_role_that_is_full(begin: Begin, database: Database) -> None:
    database.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO live")
    guarded = database.url.replace("postgres@", f"live:{PASSWORD}@")
    async with (await begin(POSTGRES_URL=guarded, **PATIENT)).watched() as outage:
        for change, problem, repair in (
            ("ALTER ROLE live PASSWORD 'another'", "password authentication failed", SET_PASSWORD),
            ("ALTER ROLE live CONNECTION LIMIT 0", "too many connections", "ALTER ROLE live CONNECTION LIMIT -1"),
            ("ALTER ROLE live NOLOGIN", "not permitted to log in", "ALTER ROLE live LOGIN"),
        ):
            database.execute(change)
            database.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'live'")
            await outage.lasts(problem)
            database.execute(repair)
            await outage.ends()


async def test_a_service_that_starts_without_a_table_is_unready_until_it_is_there(
    platform: Platform, database: Database, event: str, topic: str, cookie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor_live.opening.PATIENCE_SECONDS", 0.3)
    database.register(event, PARKED)
    database.add_position(PARKED, moment(now_ms()))
    database.execute("ALTER TABLE entries RENAME TO mislaid")
    live = await platform.start_unready(LIVE_DEVICE_EVENT_REFRESH_MS="100")
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while "UndefinedTable" not in (await live.until("unready"))["checks"]["routing-refresh"]:
            pass
    database.execute("ALTER TABLE mislaid RENAME TO entries")
    await live.until("ready")
    assert set(await (await live.viewer(cookie)).snapshot(topic)) == {PARKED}
