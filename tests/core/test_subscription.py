"""A subscribe is authorized once, and answered with what the topic shows or with a reason to act on."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import pytest

from processor_live import signals
from processor_live.app import make_app
from processor_live.connection import Connection
from processor_live.endpoint import SUBSCRIPTIONS
from processor_live.hub import HUB
from processor_live.patience import Patience
from processor_live.position import Row
from processor_live.protocol import Command, Kind, Verdict
from processor_live.signals import SUBSCRIBED, UNSUBSCRIBED, told
from processor_live.slots import AUTHORIZE, ROUTE, SNAPSHOT
from tests.core.database import fix
from tests.core.wire import Client, Message, metric, until

EVENT, OTHER = "event:1", "event:2"


class Service:
    """Subscriptions with a directory and a database that say what the test wants, and one client."""

    def __init__(self) -> None:
        app = make_app({"LIVE_PLUGINS": ",", "LIVE_WS_MAX_SUBSCRIPTIONS": "2"})
        self.hub, self.subscriptions = app[HUB], app[SUBSCRIPTIONS]
        self.verdict: Verdict | BaseException = Verdict.ALLOW
        self.rows: Iterable[Row] | BaseException = ()
        self.during_snapshot: Callable[[], None] = lambda: None
        """What happens between the database's answer and its arrival."""
        self.hanging: str | None = None
        """The slot that never answers, if any."""
        self.asked: list[tuple[str, str]] = []
        """Which slot was asked about which topic, in order."""
        self.told: list[tuple[str, str]] = []
        """Which signal told of which topic, in order."""
        self.gate = asyncio.Event()
        """Until it is set, a plugin is busy with hearing of a subscribe."""
        self.gate.set()
        app[AUTHORIZE].fill(self._authorize)
        app[SNAPSHOT].fill(self._snapshot)
        app[ROUTE].fill(lambda _: (EVENT,))
        app[SUBSCRIBED].append(self._subscribed)
        app[UNSUBSCRIBED].append(self._unsubscribed)
        self.client = Client()

    async def _authorize(self, connection: Connection, topic: str) -> Verdict:
        assert connection is self.client.connection
        self.asked.append(("AUTHORIZE", topic))
        if self.hanging == "AUTHORIZE":
            await asyncio.Event().wait()
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return self.verdict

    async def _snapshot(self, topic: str) -> Iterable[Row]:
        self.asked.append(("SNAPSHOT", topic))
        self.during_snapshot()
        if self.hanging == "SNAPSHOT":
            await asyncio.Event().wait()
        if isinstance(self.rows, BaseException):
            raise self.rows
        return self.rows

    async def _subscribed(self, connection: Connection, topic: str) -> None:
        assert connection is self.client.connection
        await self.gate.wait()
        self.told.append(("subscribed", topic))

    async def _unsubscribed(self, connection: Connection, topic: str) -> None:
        assert connection is self.client.connection
        self.told.append(("unsubscribed", topic))

    async def ask(self, kind: Kind, topic: str, patience_s: float = 60) -> Message:
        """Carry out a command and return its answer, which must be the only message."""
        before = len(self.client.messages)
        patience = Patience(asyncio.get_running_loop().time() + patience_s)
        await self.subscriptions.execute(self.client.connection, Command(kind, topic, "7"), patience)
        await told(self.client.connection)
        (answer,) = self.client.messages[before:]
        assert (answer["topic"], answer["id"]) == (topic, "7")
        return answer

    async def subscribe(self, topic: str = EVENT, patience_s: float = 60) -> Any:  # noqa: ANN401 - as the snapshot is
        """Subscribe and return the error's code, or the snapshot as device and `ts`."""
        answer = await self.ask(Kind.SUBSCRIBE, topic, patience_s)
        if answer["type"] == "error":
            return answer["code"]
        return {entry["deviceId"]: entry["ts"] for entry in answer["snapshot"]}

    async def publish(self, device: str, ts: int) -> list[tuple[str, int]]:
        """Publish a position and return all that the client was ever sent of the event."""
        self.hub.publish(fix(device, ts))
        await self.hub.flush()
        return self.client.positions(EVENT)


@pytest.fixture
def service() -> Service:
    """A service that allows everything and stores nothing."""
    return Service()


async def test_a_subscribe_is_authorized_once_then_answered_with_the_snapshot_and_told(service: Service) -> None:
    service.rows = [Row("d1", fix("d1", 3), 3)]
    assert await service.subscribe() == {"d1": 3}
    assert service.asked == [("AUTHORIZE", EVENT), ("SNAPSHOT", EVENT)]
    assert service.told == [("subscribed", EVENT)]
    assert service.client.connection.topics == {EVENT}
    assert await service.publish("d1", 4) == [("d1", 4)]
    assert len(service.asked) == 2, "none per record"


async def test_a_subscribe_is_timed_up_to_its_answer_and_only_if_there_is_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "RECEIVER_SECONDS", 3_600)
    before = metric("live_subscribe_seconds_count")
    service.gate.clear()
    subscribing = asyncio.create_task(service.subscribe())
    await until(lambda: metric("live_subscribe_seconds_count") - before == 1)
    assert service.told == []
    service.gate.set()
    await subscribing
    service.hanging = "AUTHORIZE"
    given_up = asyncio.create_task(service.subscribe(OTHER))
    await until(lambda: ("AUTHORIZE", OTHER) in service.asked)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert metric("live_subscribe_seconds_count") - before == 1


async def test_until_a_plugin_fills_the_slots_every_subscribe_is_forbidden() -> None:
    app, client = make_app({"LIVE_PLUGINS": ","}), Client()
    patience = Patience(asyncio.get_running_loop().time() + 60)
    await app[SUBSCRIPTIONS].execute(client.connection, Command(Kind.SUBSCRIBE, EVENT, None), patience)
    assert [message["code"] for message in client.messages] == ["forbidden"]
    assert client.connection.topics == set()


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict.UNKNOWN_TOPIC, "unknown-topic"),
        (Verdict.FORBIDDEN, "forbidden"),
        (Verdict.NOT_FOUND, "not-found"),
        (Verdict.UNDECIDED, "error"),
    ],
)
async def test_a_refusal_has_its_code_asks_no_store_and_leaves_the_connection_open(
    service: Service, verdict: Verdict, code: str
) -> None:
    before = metric("live_commands_total", answer=code)
    service.verdict = verdict
    assert await service.subscribe() == code
    assert service.asked == [("AUTHORIZE", EVENT)]
    assert service.told == []
    assert service.client.connection.topics == set()
    assert service.client.connection.closing is None
    assert metric("live_commands_total", answer=code) - before == 1


async def test_a_session_that_has_ended_is_told_and_then_closes_with_4401(service: Service) -> None:
    service.verdict = Verdict.SESSION_ENDED
    assert await service.subscribe() == "session-ended"
    assert await service.client.goodbye() == 4401


STRAY = pytest.param(asyncio.CancelledError(), id="cancelled")
"""By nobody, as some libraries raise it."""


@pytest.mark.parametrize("error", [pytest.param(RuntimeError("a bug"), id="error"), STRAY])
async def test_an_authorization_plugin_that_raises_decides_nothing(
    service: Service, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    before = metric("live_plugin_failures_total", call="AUTHORIZE")
    service.verdict = error
    assert await service.subscribe() == "error"
    assert metric("live_plugin_failures_total", call="AUTHORIZE") - before == 1
    assert [record.message for record in caplog.records] == ["authorize.failed"]


@pytest.mark.parametrize("error", [pytest.param(TimeoutError(), id="error"), STRAY])
async def test_a_database_that_fails_leaves_what_the_stream_has_shown(
    service: Service, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    caplog.set_level(logging.WARNING)
    before = metric("live_snapshot_failures_total")
    service.rows = error
    await service.publish("d1", 3)
    assert await service.subscribe() == {"d1": 3}
    assert metric("live_snapshot_failures_total") - before == 1
    assert caplog.records == [], "one line a client would be a flood while the database is down"


async def test_who_has_waited_as_long_as_he_can_for_a_decision_is_told_that_there_is_none(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    before = metric("live_commands_total", answer="error")
    service.hanging = "AUTHORIZE"
    assert await service.subscribe(patience_s=0.05) == "error"
    assert service.asked == [("AUTHORIZE", EVENT)]
    assert metric("live_commands_total", answer="error") - before == 1
    assert caplog.records == []


async def test_who_has_waited_as_long_as_he_can_for_the_database_gets_what_the_stream_has_shown(
    service: Service,
) -> None:
    before = metric("live_snapshot_failures_total")
    service.hanging = "SNAPSHOT"
    await service.publish("d1", 3)
    assert await service.subscribe(patience_s=0.05) == {"d1": 3}
    assert await service.publish("d1", 4) == [("d1", 4)]
    assert metric("live_snapshot_failures_total") - before == 1


async def test_for_who_has_waited_too_long_already_nobody_is_asked(service: Service) -> None:
    assert await service.subscribe(patience_s=0) == "error"
    assert service.asked == []


async def test_subscribing_again_is_authorized_again_and_has_a_fresh_snapshot(service: Service) -> None:
    assert await service.subscribe() == {}
    await service.publish("d1", 3)
    assert await service.subscribe() == {"d1": 3}
    assert [slot for slot, _ in service.asked].count("AUTHORIZE") == 2
    assert [signal for signal, _ in service.told] == ["subscribed", "unsubscribed", "subscribed"]
    assert await service.publish("d1", 4) == [("d1", 3), ("d1", 4)]


@pytest.mark.parametrize("verdict", [Verdict.FORBIDDEN, Verdict.NOT_FOUND, Verdict.SESSION_ENDED])
async def test_who_is_refused_on_subscribing_again_has_lost_the_topic(service: Service, verdict: Verdict) -> None:
    await service.subscribe()
    service.verdict = verdict
    await service.subscribe()
    assert service.client.connection.topics == set()
    assert service.told == [("subscribed", EVENT), ("unsubscribed", EVENT)]
    assert await service.publish("d1", 3) == []


async def test_who_cannot_be_decided_about_keeps_the_topic(service: Service) -> None:
    await service.subscribe()
    service.verdict = Verdict.UNDECIDED
    assert await service.subscribe() == "error"
    assert await service.publish("d1", 3) == [("d1", 3)]


async def test_topics_over_the_limit_are_refused_unasked_held_ones_are_not(service: Service) -> None:
    assert [await service.subscribe(topic) for topic in (EVENT, OTHER, "event:3")] == [{}, {}, "too-many-subscriptions"]
    assert await service.subscribe(OTHER) == {}
    assert [topic for slot, topic in service.asked if slot == "AUTHORIZE"] == [EVENT, OTHER, OTHER]
    await service.ask(Kind.UNSUBSCRIBE, EVENT)
    assert await service.subscribe("event:3") == {}


async def test_unsubscribing_ends_the_positions_and_is_told(service: Service) -> None:
    await service.subscribe()
    service.hub.publish(fix("d1", 1))
    assert (await service.ask(Kind.UNSUBSCRIBE, EVENT))["type"] == "unsubscribed"
    assert service.told[-1] == ("unsubscribed", EVENT)
    assert await service.publish("d1", 2) == []


async def test_unsubscribing_from_a_topic_not_held_is_answered_and_not_told(service: Service) -> None:
    assert (await service.ask(Kind.UNSUBSCRIBE, EVENT))["type"] == "unsubscribed"
    assert service.told == service.asked == []


async def test_what_is_published_while_the_database_is_asked_is_in_the_snapshot(service: Service) -> None:
    service.rows = [Row("d1", fix("d1", 3), 3)]
    service.during_snapshot = lambda: service.hub.publish(fix("d1", 5))
    assert await service.subscribe() == {"d1": 5}
    assert await service.publish("d1", 5) == []


async def test_the_answer_comes_before_the_positions_whatever_is_published_in_whichever_turn(service: Service) -> None:
    async def publish_in_every_turn() -> None:
        for ts in count(1):
            await service.publish("d1", ts)
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish_in_every_turn())
    patience = Patience(asyncio.get_running_loop().time() + 60)
    await service.subscriptions.execute(service.client.connection, Command(Kind.SUBSCRIBE, EVENT, None), patience)
    await asyncio.sleep(0)
    publishing.cancel()
    answer, *positions = service.client.messages
    assert answer["type"] == "subscribed"
    assert positions, "more came"


async def test_a_connection_that_ends_leaves_all_its_topics_and_each_is_told(service: Service) -> None:
    await service.subscribe(EVENT)
    await service.subscribe(OTHER)
    service.subscriptions.leave_all(service.client.connection)
    await told(service.client.connection)
    assert service.client.connection.topics == set()
    assert sorted(service.told[2:]) == [("unsubscribed", EVENT), ("unsubscribed", OTHER)]
    assert await service.publish("d1", 1) == []
