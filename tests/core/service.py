"""What is under test in the world: one life of the service, the real core with the real fan-out."""

import asyncio
from collections.abc import Callable, Iterable

import pytest

from processor_live import HEALTH, load
from processor_live.app import make_app
from processor_live.connection import Connection
from processor_live.endpoint import CONNECTIONS, LAGGARDS, Conversation, drain
from processor_live.hub import HUB
from processor_live.position import Row
from processor_live.seats import SEATS
from processor_live.slots import AUTHORIZE, ROUTE, Authorize
from processor_live_postgres import snapshot
from processor_live_postgres.routing import Routing
from processor_live_redis.connection import RedisSettings
from processor_live_redis.fanout import WARM_MS, Fanout
from processor_live_redis.group import Group
from processor_live_redis.record import RecordDecoder
from tests.core.database import Database
from tests.core.expectation import Expectation
from tests.core.stream import Stream
from tests.core.wire import Client

REFRESH_SECONDS = 0.1
SLOW_SECONDS = 4
SETTINGS = {
    "LIVE_PLUGINS": ",",
    "LIVE_WS_MAX_COMMANDS_PER_SECOND": "10000",
    "LIVE_WS_SLOW_TIMEOUT_MS": f"{SLOW_SECONDS}000",
    "POSTGRES_URL": "postgres://stands-in",
    "REDIS_URL": "redis://stands-in",
    "LIVE_BROADCAST_BATCH_SIZE": "3",  # who falls behind needs several reads to catch up
}
WillBeShown = Callable[[Connection, str, Expectation], None]


class Service:
    """One process, from its start to its end."""

    def __init__(
        self, instance: str, stream: Stream, database: Database, authorize: Authorize, will_be_shown: WillBeShown
    ) -> None:
        self.app = make_app(SETTINGS)
        self.hub, health = self.app[HUB], self.app[HEALTH]
        self.met: set[tuple[str, str]] = set()
        """The topics in which this service has ever had a device, and the device."""
        self.returned: dict[tuple[str, str], int] = {}
        """For a device that is back in a topic: the `ts` of it that was known when it came back."""
        self._routed: set[tuple[str, str]] = set()
        self.stopping: asyncio.Task[None] | None = None
        self._stream, self._database, self._will_be_shown = stream, database, will_be_shown
        self._has_been_ready = False
        self._warm_since_ms = asyncio.get_running_loop().time() * 1000 - WARM_MS / 2
        self._clients: list[Client] = []
        self._routing = Routing(database, self.hub, health, REFRESH_SECONDS)  # type: ignore[arg-type]  # it stands in
        self.app[AUTHORIZE].fill(authorize)
        self.app[ROUTE].fill(self._routing.topics)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot, "Database", lambda *_, **__: database)
            snapshot.setup(self.app)
        decoder = RecordDecoder(include_attributes=False)
        self._fanout = fanout = Fanout(load(RedisSettings, SETTINGS), self.hub, health, decoder, instance, 0.02)
        self._group = Group(stream, "stream", "live", instance, fanout._liveness)  # type: ignore[arg-type]  # it stands in
        fanout._group = self._group
        self._flush, self._reroute, self._join = self.hub.flush, self.hub.reroute, self.hub.join
        self._flushing = self._rerouting = False
        self.hub.flush = self._watched_flush  # type: ignore[method-assign]  # to know when it is done
        self.hub.reroute = self._watched_reroute  # type: ignore[method-assign]  # same
        self.hub.join = self._watched_join  # type: ignore[method-assign]  # to know what must follow
        work = (self.hub.run, self.app[LAGGARDS].run, fanout.run, self._routing.run)
        self._tasks: list[asyncio.Task[None]] = [asyncio.create_task(each()) for each in work]

    @property
    def welcoming(self) -> bool:
        """Whether a proxy sends viewers here: it has been ready, and is not stopping."""
        self._has_been_ready |= self.app[HEALTH].status in {"ready", "degraded"}
        return self._has_been_ready and self.stopping is None

    @property
    def quiet(self) -> bool:
        """Whether everything has been read and written to everybody."""
        lagging = any(connection.lagging for connection in self.app[CONNECTIONS])
        busy = self._flushing or self._rerouting or bool(self.hub._dirty)
        up_to_date = self._group.last == self._stream.tail and self._routing._table == self._database.routes()
        return up_to_date and not lagging and not busy

    async def _watched_flush(self) -> None:
        self._flushing = True
        await self._flush()
        self._flushing = False

    async def _watched_reroute(self) -> None:
        """Note which devices are back, before anybody is told."""
        for device, topics in self._routing._table.items():
            for pair in [(topic, device) for topic in topics if (topic, device) not in self._routed]:
                known = self.hub.latest.get(device)
                if pair in self.met:
                    self.returned[pair] = known.ts if known else 0
        self._routed = {(topic, device) for device, topics in self._routing._table.items() for topic in topics}
        self.met |= self._routed
        self._rerouting = True
        await self._reroute()
        self._rerouting = False

    def _watched_join(self, connection: Connection, name: str, rows: Iterable[Row]) -> list[bytes]:
        rows = [*rows]
        in_topic = [device for device, topics in self._routing._table.items() if name in topics]
        expected = Expectation(rows, in_topic, self.hub.latest, rerouting=self._rerouting)
        self.met.update((name, row.device_id) for row in rows)
        self._will_be_shown(connection, name, expected)
        return self._join(connection, name, rows)

    def enter(self, *, inflates: bool, threshold: int) -> Client:
        """Let a viewer in."""
        seat = self.app[SEATS].take()
        assert seat is not None
        assert seat.belongs_to("ana")
        client = Client(threshold=threshold, lag=self.app[LAGGARDS].add, inflates=inflates)
        self._clients.append(client)
        client.transport.pause_reading()  # as `upgrade.switch` leaves it
        Conversation(self.app, client.connection, client.socket, seat).begin(b"")
        return client

    def stop(self) -> None:
        """Let it say goodbye to everybody; then it ends."""
        self.stopping = self.stopping or asyncio.create_task(drain(self.app))

    def kill(self) -> None:
        """End it at once."""
        for client in self._clients:
            if not client.transport.aborted:
                client.transport.abort()
        for task in (*self._tasks, self.stopping):
            if task is not None:
                task.cancel()

    def check(self) -> None:
        """Raise what has ended one of its tasks."""
        for task in (*self._tasks, self.stopping):
            if task is not None and task.done():
                task.result()

    def check_what_is_known(self) -> None:
        """What has been read is in the latest table, unless it waits for what is newer."""
        if self._fanout._warmed and not self._fanout._backlog and self._group.last is not None:
            for device, ts in self._stream.newest(self._group.last, self._warm_since_ms).items():
                known = self.hub.latest.get(device)
                assert known is not None, "G3: it has been read"
                assert known.ts >= ts, "G3: something newer has been read"
