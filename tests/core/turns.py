"""Which stories can be told of the core alone, turn by turn of the event loop, and what is true at their end?"""

import asyncio
from operator import methodcaller

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live import command_queue, hub, laggards, subscription
from processor_live.protocol import Verdict
from tests.core.database import DEVICES, TOPICS
from tests.core.expectation import Expectation
from tests.core.interleaving import CLIENTS, Spectator, World
from tests.core.spectator import RATE_LIMITED, REFUSED
from tests.core.wire import metric

GAUGES = ("live_subscriptions", "live_topics", "live_lagging_connections")

_devices, _topics, _numbers = st.sampled_from(DEVICES), st.sampled_from(TOPICS), st.integers(0, CLIENTS - 1)
_early = st.sampled_from([0, 0, 0, 1, 2, 5, -1, -3])
"""How much older than the present a record is; negative: the stream will show it later."""


def _calls(name: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[methodcaller]:
    return st.builds(methodcaller, st.just(name), *arguments)


_verdicts = st.sampled_from([*[Verdict.ALLOW] * 4, Verdict.FORBIDDEN, Verdict.NOT_FOUND, None])
_likely = [
    (8, _calls("publish", _devices, _early)),
    (6, _calls("flush")),
    (3, _calls("say", _numbers, st.just("subscribe"), _topics)),
    (2, _calls("say", _numbers, st.just("unsubscribe"), _topics)),
    (2, _calls("store", _devices, _early, st.sampled_from([False, False, True]))),
    (1, _calls("register", _topics, _devices)),
    (1, _calls("refresh")),
    (2, _calls("stall", _numbers)),
    (2, _calls("read", _numbers, st.integers(1, 400))),
    (1, _calls("read_all", _numbers)),
    (3, _calls("look")),
    (1, _calls("hang_up", _numbers)),
    (1, _calls("set_database", st.booleans())),
    (1, _calls("set_verdict", _verdicts)),
]
_events = st.sampled_from([event for weight, event in _likely for _ in range(weight)]).flatmap(lambda event: event)
_story = st.lists(st.tuples(_events, st.integers(0, 3)), min_size=30, max_size=120)
"""What happens, and how many turns of the event loop pass after each."""
_BEGINNING = [(methodcaller("say", number, "subscribe", topic), 3) for number in range(CLIENTS) for topic in TOPICS]


async def _live_through(story: list[tuple[methodcaller, int]]) -> None:
    before = [metric(name) for name in GAUGES]
    world = World()
    for event, turns in _BEGINNING + story:
        event(world)
        for _ in range(turns):
            await asyncio.sleep(0)
    await world.settle()
    for spectator in world.gone:
        _replayed(spectator, world)
    for spectator in world.spectators:
        held = _replayed(spectator, world)
        _answered_in_order(spectator)
        assert held.keys() == spectator.client.connection.topics
        _up_to_date(world, held)
    await world.end()
    assert [metric(name) for name in GAUGES] == before


def _replayed(spectator: Spectator, world: World) -> dict[str, dict[str, int]]:
    """Return the topics held in the end, each with the `ts` shown last of its devices; G1 and G2 on the way."""
    held: dict[str, dict[str, int]] = {}
    expected: dict[str, Expectation] = {}
    known: dict[tuple[str, str], int] = {}
    promised = {topic: iter(world.expected[spectator.client.connection, topic]) for topic in TOPICS}
    for message in spectator.client.messages:
        topic = message["topic"]
        match message["type"]:
            case "subscribed":
                held[topic] = {entry["deviceId"]: entry["ts"] for entry in message["snapshot"]}
                assert len(held[topic]) == len(message["snapshot"]), "one entry per device"
                expected[topic] = next(promised[topic])
                expected[topic].check(held[topic])
                for device, ts in held[topic].items():
                    if device not in world.database.ever_flagged:
                        assert ts >= known.get((topic, device), 0), "G2: nor is the next snapshot older"
                    known[topic, device] = ts
            case "unsubscribed":
                held.pop(topic, None)
            case "error" if message["code"] in REFUSED:
                held.pop(topic, None)
            case "position":
                device, ts = message["deviceId"], message["ts"]
                assert topic in held, "G1: positions only between subscribed and unsubscribed"
                assert ts > held[topic].get(device, 0), "G2: ts strictly increases"
                assert expected[topic].admits(device, ts), "an operator has flagged it, or something newer"
                held[topic][device] = known[topic, device] = ts
    return held


def _answered_in_order(spectator: Spectator) -> None:
    """G5: every command has its answer, in the order in which they were sent."""
    hasty = {answer["id"] for answer in spectator.answers if answer.get("code") == RATE_LIMITED}
    answered = [answer["id"] for answer in spectator.answers if answer.get("code") != RATE_LIMITED]
    assert answered == [id_ for id_ in spectator.said if id_ not in hasty]


def _up_to_date(world: World, held: dict[str, dict[str, int]]) -> None:
    """G3 and G4: nobody is behind what the stream and the snapshots have shown, an operator's flags aside."""
    for topic, shown in held.items():
        for device in world.database.registered[topic]:
            newest = world.database.newest(device, world.facts[device])
            # Who joined while a device was out of the topic waits for its next position.
            is_away = device not in shown and world.returned.get((topic, device), 0) >= (newest or 0)
            assert newest is None or is_away or shown.get(device, 0) == newest


def take_turns(count: int, *, derandomize: bool = False) -> None:
    """Tell so many stories, of a core that lets others in after every device and every write or two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "DEVICES_PER_TURN", 1)
        patch.setattr(laggards, "TURN_SECONDS", 0)
        patch.setattr(command_queue, "MAX_WAITING", 4)
        patch.setattr(subscription.log, "disabled", True)

        @settings(max_examples=count, derandomize=derandomize, deadline=None, database=None)
        @given(_story, st.sampled_from([1, 1, 2]))
        def told(story: list[tuple[methodcaller, int]], members_per_turn: int) -> None:
            patch.setattr(hub, "MEMBERS_PER_TURN", members_per_turn)
            asyncio.run(_live_through(story))

        told()
