"""A query that hangs costs the others nothing, many cost nobody more than the timeout, and nothing runs hot."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import pytest

from tests.postgres.conftest import MOMENT, OURS, rows
from tests.running import Diary, app_with, problem, running, until
from tests.servers import Database

KEY = 7_214_092
"""Of the advisory lock that the queries of some events wait for."""
HANGING = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.hanging (event_id uuid);
CREATE VIEW {schema}.entries AS
    SELECT * FROM public.entries
    WHERE CASE WHEN event_id IN (SELECT event_id FROM {schema}.hanging)
        THEN pg_advisory_lock_shared({key}) IS NOT NULL ELSE true END
"""
"""A database whose queries hang for some events, and for these only."""


class Rally:
    """Events of which some cannot be read until the test lets them."""

    def __init__(self, database: Database, holder: Database, schema: str) -> None:
        self.url = f"{database.url}?options=-csearch_path%3D{schema},public"
        self._database = database
        self._holder = holder
        self._schema = schema
        holder.execute("SELECT pg_advisory_lock(%s)", (KEY,))

    def add_event(self, *, hangs: bool) -> str:
        """Add an event of one device, of the same name, that has a position."""
        event = self._database.add_event()
        self._database.register(event, event)
        self._database.add_position(event, MOMENT)
        if hangs:
            self._database.execute(f"INSERT INTO {self._schema}.hanging VALUES (%s)", (event,))  # noqa: S608 - ours
        return event

    @property
    def hanging(self) -> int:
        """How many queries hang."""
        [[count]] = self._database.execute(f"SELECT count(*) {OURS} AND wait_event = 'advisory'")
        return int(count)

    @property
    def connections(self) -> int:
        """How many connections the service has."""
        [[count]] = self._database.execute(f"SELECT count(*) {OURS}")
        return int(count)

    def let_go(self) -> None:
        """Let nothing hang any more."""
        self._holder.execute("SELECT pg_advisory_unlock_all()")


@pytest.fixture
def rally(database: Database) -> Iterator[Rally]:
    """A database in which some queries hang."""
    schema = f"hanging_{uuid.uuid4().hex}"
    database.execute(HANGING.format(schema=schema, key=KEY))
    with closing(Database(database.url)) as holder:
        yield Rally(database, holder, schema)
    database.execute(f"DROP SCHEMA {schema} CASCADE")


async def test_an_event_whose_query_hangs_costs_the_others_nothing(rally: Rally) -> None:
    """However many ask for it: they share a query, so it has one connection of the four."""
    slow, *others = rally.add_event(hangs=True), *[rally.add_event(hangs=False) for _ in range(20)]
    async with running(app_with("snapshot", POSTGRES_URL=rally.url, LIVE_SNAPSHOT_TIMEOUT_MS="60000")) as app:
        waiting = [asyncio.create_task(rows(app, slow)) for _ in range(50)]
        await until(lambda: rally.hanging)
        for event in others:
            assert set(await rows(app, event)) == {event}
        assert (rally.hanging, rally.connections) == (1, 2)
        rally.let_go()
        assert [set(found) for found in await asyncio.gather(*waiting)] == [{slow}] * 50


async def test_when_all_connections_hang_nobody_waits_longer_than_the_timeout_and_readiness_says_for_what(
    rally: Rally, diary: Diary
) -> None:
    events = [rally.add_event(hangs=True) for _ in range(24)]
    loop = asyncio.get_running_loop()
    async with running(app_with("snapshot", POSTGRES_URL=rally.url, LIVE_SNAPSHOT_TIMEOUT_MS="1000")) as app:
        for _ in range(2):
            began = loop.time()
            answers = await asyncio.gather(*[rows(app, event) for event in events], return_exceptions=True)
            assert loop.time() - began < 2
            assert set(map(str, answers)) == {"no answer within 1000 ms", "no free connection within 1000 ms"}
            assert str(problem(app, "snapshot")).startswith("TimeoutError: no ")
            assert rally.connections <= 4
        rally.let_go()
        for event in events:
            assert set(await rows(app, event)) == {event}
    assert [diary.count(f"check.{state} check=snapshot") for state in ("failing", "good")] == [1, 1]


@dataclass
class HangingUp:
    """A server that hangs up on everybody."""

    url: str = ""
    attempts: int = 0


@pytest.fixture
async def hanging_up() -> AsyncIterator[HangingUp]:
    """A server that hangs up on everybody, and counts them."""
    state = HangingUp()

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.attempts += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        state.url = f"postgresql://live@127.0.0.1:{server.sockets[0].getsockname()[1]}/rally"
        yield state


async def test_a_server_that_hangs_up_is_tried_ten_times_a_second_for_an_event_however_many_ask(
    hanging_up: HangingUp, diary: Diary
) -> None:
    event, loop = str(uuid.uuid4()), asyncio.get_running_loop()
    async with running(app_with("snapshot", POSTGRES_URL=hanging_up.url)) as app:
        asked, began = [], loop.time()
        for _ in range(50):
            asked += [asyncio.create_task(rows(app, event)) for _ in range(10)]
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        took = loop.time() - began
    assert {type(answer) for answer in answers} == {psycopg2.OperationalError}
    assert 1 < hanging_up.attempts <= 2 + 10 * took
    assert diary.count("snapshot") == 1, "for five hundred"


async def test_a_server_that_hangs_up_is_asked_for_the_routing_no_sooner_than_the_next_refresh(
    hanging_up: HangingUp, diary: Diary
) -> None:
    began = asyncio.get_running_loop().time()
    async with running(app_with("routing", POSTGRES_URL=hanging_up.url, LIVE_DEVICE_EVENT_REFRESH_MS="200")):
        await until(lambda: hanging_up.attempts == 4)
        assert asyncio.get_running_loop().time() - began > 0.5
    assert diary.count("check.failing") == 1
