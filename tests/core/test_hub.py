"""A position reaches every member of its device's topics once, and a newcomer misses nothing."""

import asyncio
import itertools
import json
from collections.abc import Iterable

import pytest

from processor_live import hub as module
from processor_live.hub import Hub
from processor_live.position import Position, Row
from tests.core.database import fix
from tests.core.wire import Client, metric, turns_of

EVENT, OTHER = "event:1", "event:2"
ROUTES: dict[str, tuple[str, ...]] = {"d1": (EVENT,), "d2": (EVENT, OTHER), "d3": (OTHER,)}


class Rally:
    """A hub with its routes, and clients that join it."""

    def __init__(self) -> None:
        self.routes = dict(ROUTES)
        self.hub = Hub(lambda device: self.routes.get(device, ()), 0.0)

    def join(self, *topics: str) -> Client:
        client = Client()
        for topic in topics:
            self.hub.join(client.connection, topic, ())
        return client

    def snapshot(self, topic: str, rows: Iterable[Row] = (), client: Client | None = None) -> dict[str, int]:
        """Return device and `ts` of what a client is shown as it joins."""
        entries = self.hub.join((client or Client()).connection, topic, rows)
        shown = [(entry["deviceId"], entry["ts"]) for entry in map(json.loads, entries)]
        assert len(dict(shown)) == len(shown)
        return dict(shown)

    def publish(self, *positions: tuple[str, int]) -> None:
        for device, ts in positions:
            self.hub.publish(fix(device, ts))


@pytest.fixture
def rally() -> Rally:
    """A hub nobody has joined."""
    return Rally()


async def test_a_position_reaches_every_member_of_every_topic_of_its_device_and_nobody_else(rally: Rally) -> None:
    both, one, other = rally.join(EVENT, OTHER), rally.join(EVENT), rally.join(OTHER)
    rally.publish(("d1", 1), ("d2", 1))
    await rally.hub.flush()
    assert (both.positions(EVENT), both.positions(OTHER)) == ([("d1", 1), ("d2", 1)], [("d2", 1)])
    assert (one.positions(EVENT), one.positions(OTHER)) == ([("d1", 1), ("d2", 1)], [])
    assert (other.positions(EVENT), other.positions(OTHER)) == ([], [("d2", 1)])


async def test_a_flush_is_one_write_with_every_position_that_was_news(rally: Rally) -> None:
    client = rally.join(EVENT)
    delivered = metric("live_deliveries_total")
    rally.publish(("d1", 1), ("d2", 1), ("d1", 2))
    assert client.messages == []
    await rally.hub.flush()
    assert client.positions(EVENT) == [("d1", 1), ("d2", 1), ("d1", 2)]
    assert metric("live_deliveries_total") - delivered == 3
    await rally.hub.flush()
    assert len(client.messages) == 3


async def test_late_and_duplicate_records_are_counted_and_not_sent(rally: Rally) -> None:
    client = rally.join(EVENT)
    before = {news: metric("live_positions_total", news=news) for news in ("newest", "duplicate", "late")}
    rally.publish(("d1", 5), ("d1", 5), ("d1", 4), ("d1", 3), ("d1", 6))
    await rally.hub.flush()
    assert client.positions(EVENT) == [("d1", 5), ("d1", 6)]
    assert {news: metric("live_positions_total", news=news) - count for news, count in before.items()} == {
        "newest": 2, "duplicate": 1, "late": 2,
    }  # fmt: skip
    assert rally.hub.news == 2


def test_a_device_in_no_topic_is_an_orphan_one_in_a_topic_without_members_is_not(rally: Rally) -> None:
    before = metric("live_orphans_total")
    rally.publish(("nobody's", 1), ("nobody's", 1), ("d1", 1))
    assert (rally.hub.orphans, rally.hub.news) == (1, 2)
    assert metric("live_orphans_total") - before == 1


async def test_what_the_message_says_is_what_was_published(rally: Rally) -> None:
    client = rally.join(EVENT)
    rally.hub.publish(Position("d1", 41.32, 19.81, 1_767_225_600_000, 87, 142))
    await rally.hub.flush()
    assert client.messages == [
        {"type": "position", "topic": EVENT, "deviceId": "d1", "lat": 41.32, "lon": 19.81}
        | {"ts": 1_767_225_600_000, "speed": 87, "course": 142}
    ]


def test_a_snapshot_has_what_the_store_knows_and_what_only_the_stream_has_shown(rally: Rally) -> None:
    rally.publish(("d2", 7), ("d3", 7), ("nobody's", 7))
    rows = [Row("d1", fix("d1", 3), 3), Row("registered just now", fix("registered just now", 2), 2)]
    assert rally.snapshot(EVENT, rows) == {"d1": 3, "registered just now": 2, "d2": 7}


@pytest.mark.parametrize(
    ("stored", "newest_ts", "shown"),
    [(3, 3, 5), (5, 5, 5), (8, 8, 8), (3, 5, 3), (3, 9, 3), (None, 4, 5), (None, 5, None), (None, None, 5)],
    ids=["stream newer", "same", "store newer", "seen flagged", "newer flagged", "old flagged", "only flagged", "none"],
)
def test_a_snapshot_shows_the_newest_that_no_operator_has_flagged(
    rally: Rally, stored: int | None, newest_ts: int | None, shown: int | None
) -> None:
    rally.publish(("d1", 5))
    row = Row("d1", None if stored is None else fix("d1", stored), newest_ts)
    assert rally.snapshot(EVENT, [row]).get("d1") == shown


async def test_a_record_that_an_operator_has_flagged_already_is_not_streamed(rally: Rally) -> None:
    client = Client()
    assert rally.snapshot(EVENT, [Row("d1", fix("d1", 3), 5)], client) == {"d1": 3}
    rally.publish(("d1", 4), ("d1", 5), ("d1", 6))
    await rally.hub.flush()
    assert client.positions(EVENT) == [("d1", 6)]


async def test_a_row_newer_than_the_stream_is_published_to_everybody_else(rally: Rally) -> None:
    member, elsewhere, newcomer = rally.join(EVENT), rally.join(OTHER), Client()
    assert rally.snapshot(EVENT, [Row("d2", fix("d2", 9), 9)], newcomer) == {"d2": 9}
    await rally.hub.flush()
    assert member.positions(EVENT) == [("d2", 9)]
    assert elsewhere.positions(OTHER) == [("d2", 9)]
    assert newcomer.positions(EVENT) == []
    rally.publish(("d2", 8), ("d2", 9), ("d2", 10))
    await rally.hub.flush()
    assert member.positions(EVENT) == [("d2", 9), ("d2", 10)]
    assert newcomer.positions(EVENT) == [("d2", 10)]


async def test_a_row_of_a_device_not_routed_yet_is_shown_to_the_other_members(rally: Rally) -> None:
    member, newcomer = rally.join(EVENT), Client()
    rally.publish(("new", 5))
    assert rally.snapshot(EVENT, [Row("new", fix("new", 4), 4)], newcomer) == {"new": 5}
    await rally.hub.flush()
    assert member.positions(EVENT) == [("new", 5)]
    assert newcomer.positions(EVENT) == []


async def test_what_is_pending_as_somebody_joins_is_in_the_snapshot_and_streamed_to_the_others_only(
    rally: Rally,
) -> None:
    member, newcomer = rally.join(EVENT), Client()
    rally.publish(("d1", 1), ("d2", 1))
    assert rally.snapshot(EVENT, (), newcomer) == {"d1": 1, "d2": 1}
    rally.publish(("d1", 2))
    await rally.hub.flush()
    assert newcomer.positions(EVENT) == [("d1", 2)]
    assert member.positions(EVENT) == [("d1", 1), ("d2", 1), ("d1", 2)]


async def test_joining_again_begins_anew(rally: Rally) -> None:
    alone, before = rally.join(EVENT), metric("live_subscriptions")
    rally.publish(("d1", 1))
    assert rally.snapshot(EVENT, (), alone) == {"d1": 1}
    rally.publish(("d1", 2))
    await rally.hub.flush()
    assert alone.positions(EVENT) == [("d1", 2)]
    assert metric("live_subscriptions") == before


async def test_who_has_left_gets_nothing_more(rally: Rally) -> None:
    leaver, stayer = rally.join(EVENT, OTHER), rally.join(EVENT)
    rally.publish(("d1", 1), ("d2", 1))
    assert rally.hub.leave(leaver.connection, EVENT)
    assert not rally.hub.leave(leaver.connection, EVENT)
    assert leaver.connection.topics == {OTHER}
    await rally.hub.flush()
    assert (leaver.positions(EVENT), leaver.positions(OTHER)) == ([], [("d2", 1)])
    assert stayer.positions(EVENT) == [("d1", 1), ("d2", 1)]


def test_topics_and_subscriptions_are_counted_while_they_last(rally: Rally) -> None:
    before = metric("live_topics"), metric("live_subscriptions")
    clients = [rally.join(EVENT, OTHER), rally.join(EVENT)]
    assert (metric("live_topics") - before[0], metric("live_subscriptions") - before[1]) == (2, 3)
    for client in clients:
        for topic in (EVENT, OTHER):
            rally.hub.leave(client.connection, topic)
    assert (metric("live_topics"), metric("live_subscriptions")) == before


async def test_members_that_come_and_go_during_a_flush_are_treated_as_if_it_took_no_time(
    rally: Rally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMBERS_PER_TURN", 1)
    first, leaver, returner = (rally.join(EVENT) for _ in range(3))
    rally.publish(("d1", 1))
    flush = asyncio.create_task(rally.hub.flush())
    await first.transport.wrote.wait()
    rally.hub.leave(leaver.connection, EVENT)
    newcomer = Client()
    assert rally.snapshot(EVENT, (), newcomer) == {"d1": 1}
    assert rally.snapshot(EVENT, (), returner) == {"d1": 1}
    rally.publish(("d1", 2))
    await flush
    assert first.positions(EVENT) == [("d1", 1)]
    assert leaver.messages == returner.messages == newcomer.messages == []
    await rally.hub.flush()
    assert first.positions(EVENT) == [("d1", 1), ("d1", 2)]
    assert newcomer.positions(EVENT) == returner.positions(EVENT) == [("d1", 2)]
    assert leaver.messages == []


async def test_flushing_many_topics_of_few_members_lets_others_in(
    rally: Rally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMBERS_PER_TURN", 6)
    rally.routes = {f"d{number}": (f"event:{number}",) for number in range(10)}
    clients = [rally.join(topic) for (topic,) in rally.routes.values() for _ in range(2)]
    rally.publish(*[(device, 1) for device in rally.routes])
    assert await turns_of(rally.hub.flush()) >= 3
    assert all(client.messages for client in clients)


async def test_flushing_many_positions_to_few_members_lets_others_in(
    rally: Rally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMBERS_PER_TURN", 6)
    monkeypatch.setattr(module, "MESSAGES_PER_BATCH", 3)
    client = rally.join(EVENT)
    rally.publish(*[("d1", ts) for ts in range(20)])
    assert await turns_of(rally.hub.flush()) >= 3
    assert client.positions(EVENT) == [("d1", ts) for ts in range(20)]


async def test_devices_that_a_topic_got_are_shown_when_routes_have_changed(rally: Rally) -> None:
    client = rally.join(EVENT)
    rally.publish(("d1", 1), ("d3", 1), ("nobody's", 1))
    rally.routes["d3"] = (EVENT, OTHER)
    await rally.hub.reroute()
    await rally.hub.flush()
    await rally.hub.reroute()
    await rally.hub.flush()
    assert client.positions(EVENT) == [("d1", 1), ("d3", 1)]


async def test_rerouting_many_devices_lets_others_in(rally: Rally, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEVICES_PER_TURN", 2)
    rally.publish(*[(f"d{number}", 1) for number in range(5)])
    assert await turns_of(rally.hub.reroute()) >= 3


async def test_the_first_position_goes_at_once_and_the_next_after_the_interval(rally: Rally) -> None:
    hub = Hub(lambda device: rally.routes[device], 0.1)
    client, clock = Client(), asyncio.get_running_loop().time
    hub.join(client.connection, EVENT, ())
    run = asyncio.create_task(hub.run())
    started = clock()
    hub.publish(fix("d1", 1))
    await asyncio.sleep(0)
    assert client.positions(EVENT) == [("d1", 1)]
    client.transport.wrote.clear()
    hub.publish(fix("d1", 2))
    hub.publish(fix("d1", 3))
    await client.transport.wrote.wait()
    assert clock() - started >= 0.1
    assert client.positions(EVENT) == [("d1", 1), ("d1", 2), ("d1", 3)]
    run.cancel()
    await asyncio.wait([run])


async def test_a_flush_that_takes_long_stretches_the_interval(rally: Rally, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    clock, client = loop.time, rally.join(EVENT)
    monkeypatch.setattr(loop, "time", lambda: clock() + client.transport.wrote.is_set() * 5)
    run = asyncio.create_task(rally.hub.run())
    rally.publish(("d1", 1))
    await client.transport.wrote.wait()
    assert metric("live_flush_interval_seconds") == pytest.approx(10, rel=0.1)
    run.cancel()
    await asyncio.wait([run])


async def test_a_source_that_rests_has_what_it_publishes_next_written_at_once(rally: Rally) -> None:
    hub = Hub(lambda device: rally.routes[device], 0.1)
    client, clock = Client(), asyncio.get_running_loop().time
    hub.join(client.connection, EVENT, ())
    run = asyncio.create_task(hub.run())
    started = clock()
    hub.publish(fix("d1", 1))
    await hub.rest()
    assert client.positions(EVENT) == [("d1", 1)]
    assert clock() - started >= 0.1
    hub.publish(fix("d1", 2))
    await asyncio.sleep(0)
    assert client.positions(EVENT) == [("d1", 1), ("d1", 2)]
    run.cancel()
    await asyncio.wait([run])


async def test_a_source_rests_no_longer_because_another_goes_on_publishing(rally: Rally) -> None:
    client = rally.join(EVENT)
    run = asyncio.create_task(rally.hub.run())
    rally.publish(("d1", 0))
    resting = asyncio.create_task(rally.hub.rest())
    for ts in itertools.count(1):
        rally.publish(("d1", ts))
        await asyncio.sleep(0)
        if resting.done():
            break
    assert client.positions(EVENT)
    run.cancel()
    await asyncio.wait([run])


async def test_however_many_devices_somebody_invents_so_many_are_known_and_no_more(
    rally: Rally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ORPHANS", 10)
    forgotten = metric("live_forgotten_devices_total")
    rally.publish(("newcomer", 1), ("d1", 1))
    rally.routes["newcomer"] = (EVENT,)
    rally.publish(*((f"invented{number}", 1) for number in range(1_000)))
    assert len(rally.hub.latest) == 2 + 10
    assert metric("live_forgotten_devices_total") - forgotten == 1_000 - 10
    await rally.hub.reroute()
    assert rally.snapshot(EVENT) == {"newcomer": 1, "d1": 1}
