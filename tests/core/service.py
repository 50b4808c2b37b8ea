"""What is under test in the world: one life of the service, the real core with the real fan-out."""

import asyncio

from processor_live import HEALTH, load
from processor_live.app import make_app
from processor_live.endpoint import CONNECTIONS, LAGGARDS, Conversation, drain
from processor_live.hub import HUB
from processor_live.seats import SEATS
from processor_live.slots import AUTHORIZE, ROUTE, SNAPSHOT, Authorize, Snapshot
from processor_live_redis.fanout import Fanout, RedisSettings
from processor_live_redis.record import RecordDecoder
from tests.core.stream import Reader, Stream
from tests.core.wire import Client

THRESHOLD_BYTES = 60
"""Less than any message: who stops reading lags after the next one, and is served one at a time."""
SETTINGS = {"LIVE_PLUGINS": ",", "LIVE_WS_MAX_COMMANDS_PER_SECOND": "10000", "LIVE_WS_SLOW_TIMEOUT_MS": "1000"}
READING = {"REDIS_URL": "redis://stands-in", "LIVE_BROADCAST_BATCH_SIZE": "3"}
"""Few entries at once: who falls behind needs several reads to catch up."""


class Service:
    """One process, from its start to its end."""

    def __init__(self, stream: Stream, authorize: Authorize, snapshot: Snapshot) -> None:
        self.app = make_app(SETTINGS)
        self.app[AUTHORIZE].fill(authorize)
        self.app[SNAPSHOT].fill(snapshot)
        self.app[ROUTE].fill(lambda device: self.routes.get(device, ()))
        self.hub = self.app[HUB]
        self.routes: dict[str, tuple[str, ...]] = {}
        self.returned: dict[tuple[str, str], int] = {}
        """For a device that is back in a topic: the `ts` of it that was known when it came back."""
        self.stopping: asyncio.Task[None] | None = None
        self._has_been_ready = False
        self._clients: list[Client] = []
        decoder = RecordDecoder(include_attributes=False)
        fanout = Fanout(load(RedisSettings, READING), self.hub, self.app[HEALTH], decoder, "model", 0.02)
        self.reader = Reader(stream)
        fanout._group = self.reader  # type: ignore[assignment]  # its stand-in
        self._flush, self._flushing = self.hub.flush, False
        self.hub.flush = self._watched_flush  # type: ignore[method-assign]  # to know when it is done
        work = (self.hub.run, self.app[LAGGARDS].run, fanout.run)
        self._tasks: list[asyncio.Task[None]] = [asyncio.create_task(each()) for each in work]
        self._rerouting: asyncio.Task[None] | None = None

    @property
    def welcoming(self) -> bool:
        """Whether a proxy sends viewers here: it has been ready, and is not stopping."""
        self._has_been_ready |= bool(self.routes) and self.app[HEALTH].status == "ready"
        return self._has_been_ready and self.stopping is None

    @property
    def quiet(self) -> bool:
        """Whether everything has been read and written to everybody."""
        lagging = any(connection.lagging for connection in self.app[CONNECTIONS])
        writing = self._flushing or bool(self.hub._dirty)
        return self.reader.up_to_date and not writing and not lagging and self._rerouted

    @property
    def _rerouted(self) -> bool:
        return self._rerouting is None or self._rerouting.done()

    async def _watched_flush(self) -> None:
        self._flushing = True
        await self._flush()
        self._flushing = False

    def enter(self, *, inflates: bool) -> Client:
        """Let a viewer in."""
        seat = self.app[SEATS].take()
        assert seat is not None
        assert seat.belongs_to("ana")
        client = Client(threshold=THRESHOLD_BYTES, lag=self.app[LAGGARDS].add, inflates=inflates)
        self._clients.append(client)
        client.transport.pause_reading()  # as `upgrade.switch` leaves it
        conversation = Conversation(self.app, client.connection, client.socket, seat)
        self._tasks.append(asyncio.create_task(conversation.begin(b"")))
        return client

    def reroute(self, routes: dict[str, tuple[str, ...]]) -> None:
        """Swap the routing table, as the plugin does, unless that is still being done."""
        if self._rerouted:
            for device, topics in routes.items():
                for topic in set(topics) - set(self.routes.get(device, topics)):
                    known = self.hub.latest.get(device)
                    self.returned[topic, device] = known.ts if known else 0
            self.routes = routes
            self._rerouting = asyncio.create_task(self.hub.reroute())

    def stop(self) -> None:
        """Let it say goodbye to everybody; then it ends."""
        self.stopping = self.stopping or asyncio.create_task(drain(self.app))

    def kill(self) -> None:
        """End it at once."""
        for client in self._clients:
            if not client.transport.aborted:
                client.transport.abort()
        for task in (*self._tasks, self.stopping, self._rerouting):
            if task is not None:
                task.cancel()

    def check(self) -> None:
        """Raise what has ended one of its tasks."""
        for task in (*self._tasks, self.stopping, self._rerouting):
            if task is not None and task.done():
                task.result()
