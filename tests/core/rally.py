"""Which stories can be told of the world, and what is true at every moment of them? A machine for hypothesis."""

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from processor_live import command_queue, connection, hub, laggards
from processor_live.backlog import Newest
from processor_live.protocol import Verdict
from processor_live_redis import group
from tests.core.clock import Clock
from tests.core.database import DEVICES, TOPICS
from tests.core.spectator import Spectator
from tests.core.wire import Client, metric
from tests.core.world import SPECTATORS, World

PATIENCE_SECONDS = 60.0
"""In which everything must have come right, once nothing happens any more."""
STEP_SECONDS = 0.02
QUIET_STEPS = 5
"""For so long it must be quiet: what has been read may not have been published yet."""
LARGEST_WRITE_BYTES = 350
"""More than any answer here, and than the positions of one batch."""
MISSED_BYTES = 1_200
"""Of two topics: where it is behind, and which devices it waits for, not what it has missed."""
GAUGES = ("live_connections", "live_subscriptions", "live_topics", "live_lagging_connections")

_turns = st.integers(0, 3)
"""How many turns of the event loop pass before the next thing happens."""
_somebody = st.sampled_from((*range(SPECTATORS), 0, 0))
_devices, _topics = st.sampled_from(("d1", "d1", "d2", "d3")), st.sampled_from(TOPICS)
_kinds = st.sampled_from(("subscribe", "subscribe", "unsubscribe"))
_early = st.sampled_from([0, 0, 0, 1, 2, 5, -1, -3])
"""How much older than the present a record is; negative: a clock that is fast."""
_records = st.lists(st.tuples(_devices, _early), min_size=1, max_size=6)
_seconds = st.sampled_from([0.01, 0.02, 0.02, 0.02, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 1.0, 3.0])
_verdicts = st.sampled_from([Verdict.FORBIDDEN, Verdict.NOT_FOUND, None])


_likely: list[tuple[int, str, tuple[st.SearchStrategy[object], ...]]] = [
    (6, "devices_report", (_records,)),
    (10, "the_race_goes_on", (st.lists(st.tuples(_records, _seconds), min_size=1, max_size=4),)),
    (3, "time_passes", (_seconds,)),
    (5, "everybody_comes", ()),
    (6, "somebody_speaks", (_somebody, st.lists(st.tuples(_kinds, _topics), min_size=1, max_size=6))),
    (4, "somebody_stops_reading", (_somebody,)),
    (5, "somebody_reads_a_little", (_somebody, st.integers(1, 400))),
    (3, "somebody_reads_everything", (_somebody,)),
    (1, "somebody_hangs_up", (_somebody, st.booleans())),
    (4, "the_writer_stores", (st.integers(1, 20),)),
    (1, "an_operator_flags", (_devices,)),
    (2, "a_registration_changes", (_topics, _devices)),
    (1, "postgres_fails", (_seconds,)),
    (1, "redis_fails", (_seconds,)),
    (1, "redis_is_full", (_seconds,)),
    (2, "a_connection_to_redis_dies", (st.integers(1, 5),)),
    (1, "a_read_of_redis_is_lost", ()),
    (1, "somebody_destroys_the_group", ()),
    (1, "directus_says_no", (_verdicts, _seconds)),
    (1, "the_service_restarts", (st.booleans(),)),
]
_events = st.sampled_from(
    [st.tuples(st.just(name), st.tuples(*given)) for weight, name, given in _likely for _ in range(weight)]
).flatmap(lambda event: event)
_story = st.lists(st.tuples(_events, _turns), min_size=10, max_size=40)


def size_of(thing: object, *, shared: type) -> int:
    """Return the bytes of a thing and all that hangs on it, classes and what is `shared` aside."""
    if isinstance(thing, (type, shared)):
        return 0
    return sys.getsizeof(thing) + sum(size_of(part, shared=shared) for part in gc.get_referents(thing))


class Rally(RuleBasedStateMachine):
    """Everything happens at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._before = [metric(name) for name in GAUGES]
        self._clock = Clock()
        self._failed = False

    def teardown(self) -> None:
        try:
            if not self._failed:
                self._settle()
                self._end()
        finally:
            self._clock.close()

    @initialize()
    def begin(self) -> None:
        self._clock.run_until_complete(self._create())
        self._until(lambda: self.world.service.welcoming)
        self.everybody_comes(3)

    async def _create(self) -> None:
        self.world = World()

    @rule(story=_story)
    def much_happens(self, story: Sequence[tuple[tuple[str, Sequence[object]], int]]) -> None:
        for (event, arguments), turns in story:
            getattr(self, event)(turns, *arguments)
            self.nobody_costs_more_than_agreed()
            self.what_has_been_read_is_known()

    # What can happen.

    def devices_report(self, turns: int, records: Sequence[tuple[str, int]]) -> None:
        self._let(turns, self.world.report, *records)

    def the_race_goes_on(self, turns: int, laps: Sequence[tuple[Sequence[tuple[str, int]], float]]) -> None:
        for records, seconds in laps:
            self._let(turns, self.world.report, *records)
            self._pass_time(seconds)

    def time_passes(self, turns: int, seconds: float) -> None:
        self._pass_time(seconds)
        self._let(turns)

    def everybody_comes(self, turns: int) -> None:
        """Let who has no connection come, and follow everything."""
        for spectator in self.world.spectators:
            if spectator.client is None:
                self._let(0, self.world.let_in, spectator)
                for topic in TOPICS:
                    self._let(turns, spectator.say, "subscribe", topic)

    def somebody_speaks(self, turns: int, who: int, commands: Sequence[tuple[str, str]]) -> None:
        for kind, topic in commands:
            self._let(0, self._spectator(who).say, kind, topic)
        self._let(turns)

    def somebody_stops_reading(self, turns: int, who: int) -> None:
        self._let(turns, self._spectator(who).stall)

    def somebody_reads_a_little(self, turns: int, who: int, size: int) -> None:
        self._let(turns, self._spectator(who).read, size)

    def somebody_reads_everything(self, turns: int, who: int) -> None:
        self._let(turns, self._spectator(who).read_all)

    def somebody_hangs_up(self, turns: int, who: int, politely: bool) -> None:  # noqa: FBT001 - hypothesis names it
        self._let(turns, partial(self._spectator(who).hang_up, politely=politely))

    def the_writer_stores(self, turns: int, count: int) -> None:
        self._let(turns, self.world.database.write, count)

    def an_operator_flags(self, turns: int, device: str) -> None:
        self._let(turns, self.world.database.flag, device)

    def a_registration_changes(self, turns: int, topic: str, device: str) -> None:
        self._let(turns, self.world.database.register, topic, device)

    def postgres_fails(self, turns: int, seconds: float) -> None:
        self._let(turns, setattr, self.world.database, "is_down", True)
        self._clock.call_later(seconds, setattr, self.world.database, "is_down", False)

    def redis_fails(self, turns: int, seconds: float) -> None:
        self._let(turns, setattr, self.world.stream, "is_down", True)
        self._clock.call_later(seconds, setattr, self.world.stream, "is_down", False)

    def redis_is_full(self, turns: int, seconds: float) -> None:
        self._let(turns, self.world.stream.fill, True)
        self._clock.call_later(seconds, self.world.stream.fill, False)

    def a_connection_to_redis_dies(self, turns: int, after: int) -> None:
        self._let(turns, setattr, self.world.stream, "dying", after)

    def a_read_of_redis_is_lost(self, turns: int) -> None:
        for _ in range(2):
            self._pass_time(0.06)  # until it waits for what is not there yet
        self._let(turns, self.world.stream.lose_connections)

    def somebody_destroys_the_group(self, turns: int) -> None:
        self._let(turns, self.world.stream.lose_groups)

    def directus_says_no(self, turns: int, verdict: Verdict | None, seconds: float) -> None:
        self._let(turns, setattr, self.world, "verdict", verdict)
        self._clock.call_later(seconds, setattr, self.world, "verdict", Verdict.ALLOW)

    def the_service_restarts(self, turns: int, gracefully: bool) -> None:  # noqa: FBT001 - same
        self._let(turns, partial(self.world.restart, gracefully=gracefully))

    @rule()
    def all_is_well_for_a_while(self) -> None:
        self._settle()

    # What must be true.

    @invariant()
    def nobody_costs_more_than_agreed(self) -> None:
        """G4 and G5: for who is behind there is one position of each device of his topics, and bounded answers."""
        for spectator in self.world.spectators:
            if spectator.client is not None and spectator.client.connection.open:
                self._check_what_is_held_for(spectator.client)
        for topic in self.world.service.hub._topics.values():
            assert topic.members
            assert len(topic.newest.messages) <= len(DEVICES)

    @invariant()
    def what_has_been_read_is_known(self) -> None:
        """G3: nothing is lost between the stream and the hub."""
        self.world.service.check_what_is_known()

    @staticmethod
    def _check_what_is_held_for(client: Client) -> None:
        held = client.connection
        assert client.transport.get_write_buffer_size() <= held._threshold + LARGEST_WRITE_BYTES
        assert len(held._control) <= connection.MAX_CONTROL_MESSAGES or held.closing
        assert held._control_bytes == sum(map(len, held._control))
        assert (held._missed or {}).keys() <= held.topics
        assert size_of(held._missed, shared=Newest) <= MISSED_BYTES

    # How it is told.

    def _spectator(self, number: int) -> Spectator:
        return self.world.spectators[number]

    def _let(self, turns: int, event: Callable[..., object] | None = None, *arguments: object) -> None:
        """Let something happen at the loop's next turn, and let some turns pass."""
        if event is not None:
            self._clock.call_soon(event, *arguments)
        try:
            for _ in range(turns):
                self._clock.turn(self.world.look)
        except BaseException:
            self._failed = True
            raise

    def _pass_time(self, seconds: float) -> None:
        """Let it be later, and what is due by then happen."""
        self._clock.pass_time(seconds)
        self._let(3)

    def _until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until `condition()` holds."""
        late = self._clock.time() + PATIENCE_SECONDS
        while True:
            self._let(3)
            self._clock.pass_time(STEP_SECONDS)
            if condition():
                return
            if self._clock.time() > late:
                self._failed = True
                raise AssertionError("it does not come right")

    def _settle(self) -> None:
        """Let everything work for a while and everybody be there: then they are up to date."""
        self._let(1, self.world.heal)
        self._until(lambda: self.world.service.welcoming)
        self.everybody_comes(3)
        for _ in range(QUIET_STEPS):
            self._until(lambda: self.world.quiet)
        self._let(1, self.world.check_that_all_are_up_to_date)

    def _end(self) -> None:
        """Let everybody hang up and the service end: nothing is left of them."""
        for spectator in self.world.spectators:
            self._let(1, partial(spectator.hang_up, politely=True))
        self._let(1, self.world.service.kill)
        for _ in range(20):
            self._clock.turn(lambda: None)
        assert [metric(name) for name in GAUGES] == self._before


def tell_stories(count: int, *, steps: int, derandomize: bool = False) -> None:
    """Tell so many stories of so many steps, of a core that lets others in after every write and every device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "MEMBERS_PER_TURN", 1)
        patch.setattr(hub, "DEVICES_PER_TURN", 1)
        patch.setattr(hub, "MESSAGES_PER_BATCH", 4)
        patch.setattr(laggards, "TURN_SECONDS", 0)
        patch.setattr(connection, "MAX_CONTROL_MESSAGES", 4)
        patch.setattr(command_queue, "MAX_WAITING", 4)
        patch.setattr(group, "PAGE", 4)
        logging.disable()  # every story has its faults
        try:
            run_state_machine_as_test(
                Rally,
                settings=settings(
                    max_examples=count,
                    stateful_step_count=steps,
                    derandomize=derandomize,
                    deadline=None,
                    database=None,
                    suppress_health_check=[HealthCheck.too_slow],  # that is the machine's doing
                ),
            )
        finally:
            logging.disable(logging.NOTSET)
