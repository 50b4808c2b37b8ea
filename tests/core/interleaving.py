"""The core alone, moved on by single turns of the event loop: stream, database, Directus, and clients that lag."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from processor_live.app import make_app
from processor_live.command_queue import CommandQueue
from processor_live.connection import Connection
from processor_live.endpoint import LAGGARDS, SUBSCRIPTIONS
from processor_live.hub import HUB
from processor_live.position import Row
from processor_live.protocol import Verdict
from processor_live.slots import AUTHORIZE, ROUTE, SNAPSHOT
from processor_live_postgres import snapshot
from tests.core.database import Database, fix
from tests.core.expectation import Expectation
from tests.core.wire import Client, Message

THRESHOLDS = (60, 60, 400)
"""Less than any message: who stops reading lags after the next one, and is served one at a time; or a few at a time."""
TURNS_TO_SETTLE = 2_000
"""In which everything must have come right."""
CLIENTS = len(THRESHOLDS)


@dataclass
class Spectator:
    """One client, and what it has said."""

    client: Client
    queue: CommandQueue
    said: list[str] = field(default_factory=list)
    """The ids of its commands, in order."""

    @property
    def answers(self) -> list[Message]:
        """What it has been answered."""
        return [message for message in self.client.messages if message["type"] != "position"]


class World:
    """The real hub, connections, queues and subscriptions; everything around them happens when the test says so."""

    def __init__(self) -> None:
        app = make_app({"LIVE_PLUGINS": ",", "LIVE_WS_MAX_COMMANDS_PER_SECOND": "10000"})
        self.hub = app[HUB]
        self._join = self.hub.join
        self.hub.join = self._watched_join  # type: ignore[method-assign]  # to know what must follow
        self.laggards = app[LAGGARDS]
        self.subscriptions = app[SUBSCRIPTIONS]
        app[ROUTE].fill(lambda device: self.routes.get(device, ()))
        app[AUTHORIZE].fill(self._authorize)
        app[SNAPSHOT].fill(self._snapshot)
        self.database = Database()
        self.routes: dict[str, tuple[str, ...]] = {}
        self.clock = 10
        """What the `ts` of records are counted from."""
        self.verdict: Verdict | None = Verdict.ALLOW
        """Directus; None when its plugin raises."""
        self.facts: defaultdict[str, set[int]] = defaultdict(set)
        """What of each device the stream has shown, or rows that went into a snapshot."""
        self.met: set[tuple[str, str]] = set()
        """The topics in which a device has ever been, and the device."""
        self.returned: dict[tuple[str, str], int] = {}
        """For a device that is back in a topic: the newest of it when it came back."""
        self.expected: defaultdict[tuple[Connection, str], list[Expectation]] = defaultdict(list)
        """What each subscription must show."""
        self.spectators = [self._spectator(number) for number in range(CLIENTS)]
        self.gone: list[Spectator] = []
        """Those who have hung up."""
        self._flushing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._rerouting: asyncio.Task[None] | None = None
        self._leaving: list[asyncio.Task[None]] = []
        self.refresh()

    def _spectator(self, number: int) -> Spectator:
        client = Client(threshold=THRESHOLDS[number], lag=self.laggards.add, inflates=number > 0)
        return Spectator(client, CommandQueue(client.connection, self.subscriptions.execute, 10_000))

    async def _authorize(self, *_: object) -> Verdict:
        await asyncio.sleep(0)
        if self.verdict is None:
            raise RuntimeError("the authorization plugin has a bug")
        return self.verdict

    async def _snapshot(self, topic: str) -> list[Row]:
        columns = await self.database.rows(snapshot.QUERY, (topic.removeprefix("event:"),))
        return [snapshot.row_of(*each) for each in columns]

    def _watched_join(self, connection: Connection, name: str, rows: Iterable[Row]) -> list[bytes]:
        rows = [*rows]
        in_topic = [device for device, topics in self.routes.items() if name in topics]
        rerouting = self._rerouting is not None and not self._rerouting.done()
        self.expected[connection, name].append(Expectation(rows, in_topic, self.hub.latest, rerouting=rerouting))
        for row in rows:
            self.met.add((name, row.device_id))
            if row.position is not None:
                self.facts[row.device_id].add(row.position.ts)
        return self._join(connection, name, rows)

    # What can happen.

    def publish(self, device: str, early: int) -> None:
        """Let the stream show a position that is news, late or a duplicate."""
        self.clock += 1
        ts = self.clock - early
        self.facts[device].add(ts)
        self.hub.publish(fix(device, ts))

    def store(self, device: str, early: int, faulty: bool) -> None:  # noqa: FBT001 - an operator's flag
        """Let the database have a row, perhaps ahead of the stream; or change the flag of one."""
        self.database.store(device, self.clock - early, faulty=faulty)

    def register(self, topic: str, device: str) -> None:
        self.database.register(topic, device)

    def refresh(self) -> None:
        """Swap the routing table, as the plugin does, unless that is still being done."""
        if self._rerouting is None or self._rerouting.done():
            routes = self.database.routes()
            for device, topics in routes.items():
                for pair in {(topic, device) for topic in set(topics) - set(self.routes.get(device, ()))} & self.met:
                    self.returned[pair] = max(self.facts[device], default=0)
                self.met.update((topic, device) for topic in topics)
            self.routes = routes
            self._rerouting = asyncio.create_task(self.hub.reroute())

    def flush(self) -> None:
        """Begin a flush, unless one is under way."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self.hub.flush())

    def look(self) -> None:
        """Begin to look after those who are behind, unless that is under way."""
        if self._looking is None or self._looking.done():
            if self._looking is not None:
                self._looking.result()  # raise what it has raised
            self._looking = asyncio.create_task(self.laggards.look())

    def set_database(self, down: bool) -> None:  # noqa: FBT001 - a state
        self.database.is_down = down

    def set_verdict(self, verdict: Verdict | None) -> None:
        self.verdict = verdict

    def say(self, number: int, kind: str, topic: str) -> None:
        spectator = self.spectators[number]
        id_ = str(len(spectator.said))
        spectator.said.append(id_)
        spectator.queue.put(json.dumps({"type": kind, "topic": topic, "id": id_}))

    def stall(self, number: int) -> None:
        self.spectators[number].client.transport.stall()

    def read(self, number: int, size: int) -> None:
        self.spectators[number].client.transport.read(size)

    def read_all(self, number: int) -> None:
        self.spectators[number].client.transport.read_all()

    def hang_up(self, number: int) -> None:
        """Let a client close its window, and another one come in its place."""
        spectator, self.spectators[number] = self.spectators[number], self._spectator(number)
        self.gone.append(spectator)
        spectator.client.transport.close()
        self._leaving.append(asyncio.create_task(self._leave(spectator)))

    async def _leave(self, spectator: Spectator) -> None:
        await spectator.queue.close()
        self.subscriptions.leave_all(spectator.client.connection)
        self.laggards.discard(spectator.client.connection)

    # What follows in the end.

    async def settle(self) -> None:
        """Let everybody read, and everything that has begun come to its end."""
        for number in range(CLIENTS):
            self.read_all(number)
        await self._until(lambda: all(len(each.answers) == len(each.said) for each in self.spectators))
        for task in (self._rerouting, self._flushing, self._looking, *self._leaving):
            if task is not None:
                await task
        self.refresh()
        await asyncio.gather(*[task for task in (self._rerouting,) if task is not None])
        await self.hub.flush()
        await self._until(lambda: not any(each.client.connection.lagging for each in self.spectators))

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Let turns pass, and who is behind be looked at, until `condition()` holds."""
        for _ in range(TURNS_TO_SETTLE):
            if condition():
                return
            await asyncio.sleep(0)
            self.look()
        raise AssertionError("it does not come right")

    async def end(self) -> None:
        """Let everybody hang up."""
        for number in range(CLIENTS):
            self.hang_up(number)
        await asyncio.gather(*self._leaving)
