"""What happens on an open connection, from the upgrade to its end?"""

import asyncio
import logging
from contextlib import suppress

from aiohttp import web

from processor_live import metrics
from processor_live.command_queue import CommandQueue
from processor_live.connection import GOODBYE_SECONDS, Connection
from processor_live.frame_reader import FrameReader
from processor_live.handshake import IDENTITY, NEWCOMERS, client_address, cookie_of, refusal, unavailable
from processor_live.health import HEALTH
from processor_live.laggards import Laggards
from processor_live.patience import Patience
from processor_live.protocol import MAX_MESSAGE_BYTES
from processor_live.seats import SEAT, SEATS, Seat
from processor_live.settings import SETTINGS
from processor_live.signals import CONNECTED, DISCONNECTED, RECEIVER_SECONDS, tell, told, when_told
from processor_live.subscription import Subscriptions
from processor_live.upgrade import agree, switch
from processor_live.websocket import WebSocket

log = logging.getLogger(__name__)

LAGGARDS: web.AppKey[Laggards] = web.AppKey("laggards", Laggards)
SUBSCRIPTIONS: web.AppKey[Subscriptions] = web.AppKey("subscriptions", Subscriptions)
LEISURE: web.AppKey[Patience] = web.AppKey("leisure", Patience)
"""How long a stop may wait for clients: shorten it to hurry."""

GOODBYES_PER_SECOND = 100
"""At a stop, if the drain time is long enough: what one Directus can let in again (docs/contract.md §6.3)."""
LAST_WORD_SECONDS = 0.5
"""When the drain time is over: what it may take to tell those who have not been told, without waiting for answers."""
CLIENT_GONE = 499
"""nginx's status for a client that did not wait for its answer; only metrics see it."""
_KNOWN_CODES = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4401})


async def live(request: web.Request) -> web.StreamResponse:
    """Make the last checks of a handshake, and let the conversation begin."""
    identity, app = request.get(IDENTITY), request.app
    del app[NEWCOMERS][request[SEAT]]
    if identity is None:
        return refusal(401, "nobody vouched for you: the server has no authentication plugin")
    if app[HEALTH].draining:  # it may have begun while Directus was asked
        return unavailable("the server is stopping")
    transport = request.transport
    if transport is None or transport.is_closing():
        return refusal(CLIENT_GONE, "you have gone")
    if not request[SEAT].belongs_to(identity.user):
        return refusal(429, "you have as many connections as you may; close one first")
    agreement = agree(request, compression=app[SETTINGS].compression)
    ws = WebSocket(
        transport,
        FrameReader(MAX_MESSAGE_BYTES, inflates=agreement.compressed),
        app[SETTINGS].ping_interval_ms / 1000,
    )
    connection = Connection(
        ws,
        identity=identity,
        cookie=cookie_of(request),
        address=client_address(request),
        inflates=agreement.shared,
        threshold=app[SETTINGS].backpressure_threshold_bytes,
        lag=app[LAGGARDS].add,
    )
    early = await switch(request, agreement.response, ws)
    Conversation(app, connection, ws, request[SEAT]).begin(early)
    return agreement.response


class Conversation:
    """A connection with what belongs to it, from its first message to its end."""

    __slots__ = ("_app", "_connection", "_ending", "_queue", "_seat", "_ws")

    def __init__(self, app: web.Application, connection: Connection, ws: WebSocket, seat: Seat) -> None:
        self._app = app
        self._connection = connection
        self._ws = ws
        self._seat = seat
        self._ending: asyncio.Task[None] | None = None
        self._queue = CommandQueue(connection, app[SUBSCRIPTIONS].execute, app[SETTINGS].max_commands_per_second)

    def begin(self, early: bytes) -> None:
        """Answer the client from now on. `early` is what it has said already."""
        self._app[CONNECTIONS][self._connection] = self
        metrics.CONNECTIONS.inc()
        tell(self._app[CONNECTED], self._connection)
        when_told(self._connection, lambda: self._ws.begin(self._queue.put, self._over, early))

    def _over(self) -> None:
        """No more will come from the client."""
        self._ending = asyncio.create_task(self._end())

    def finish(self, by: float) -> None:
        """Answer what the client has said, `by` (loop time) at the latest, and say goodbye with 1012."""
        self._queue.finish(by)

    async def _end(self) -> None:
        try:
            await self._part()
            tell(self._app[DISCONNECTED], self._connection)
            # A stop waits for the seat, hence until the plugins are told; but one that hangs keeps it from nobody.
            with suppress(TimeoutError):
                async with asyncio.timeout(RECEIVER_SECONDS):
                    await told(self._connection)
        finally:
            self._seat.leave()

    async def _part(self) -> None:
        """Say goodbye; the plugins are told meanwhile which topics it has left."""
        app, connection = self._app, self._connection
        try:
            await self._queue.close()
            app[SUBSCRIPTIONS].leave_all(connection)
            await connection.say_goodbye()
            code = self._ws.close_code
            metrics.DISCONNECTS.labels(code if code in _KNOWN_CODES else "other").inc()
        finally:
            del app[CONNECTIONS][connection]
            app[LAGGARDS].discard(connection)
            metrics.CONNECTIONS.dec()


CONNECTIONS: web.AppKey[dict[Connection, Conversation]] = web.AppKey("connections", dict[Connection, Conversation])
"""All that are open."""


async def drain(app: web.Application) -> None:
    """Say goodbye to every client with 1012, within the drain time; to be called when no new ones can come.

    Not to all at once: those who leave come back at once, to another instance, and each costs Directus two calls.
    Whoever is still there when the `LEISURE` is over has a last moment to be told.
    """
    app[HEALTH].draining = True
    loop, timeout_s = asyncio.get_running_loop(), app[SETTINGS].drain_timeout_ms / 1000
    for newcomer in app[NEWCOMERS].values():
        newcomer.reschedule(loop.time())
    if not app[SEATS].taken:
        return
    log.info("drain.started connections=%d", len(app[CONNECTIONS]))
    app[LEISURE].shorten(loop.time() + timeout_s)
    with suppress(TimeoutError):
        async with app[LEISURE].lasting():
            await _say_goodbye(app, timeout_s)
    for conversation in [*app[CONNECTIONS].values()]:
        conversation.finish(loop.time())
    await _ended(app)
    late = [*app[CONNECTIONS]]
    for connection in late:
        connection.cut()
    await _ended(app)
    log.info("drain.ended late=%d", len(late))


async def _say_goodbye(app: web.Application, timeout_s: float) -> None:
    """Let one conversation after another come to its end; wait until they have."""
    loop, conversations = asyncio.get_running_loop(), [*app[CONNECTIONS].values()]
    began, spread_s = loop.time(), max(timeout_s - GOODBYE_SECONDS, 0)
    pause_s = min(1 / GOODBYES_PER_SECOND, spread_s / max(len(conversations), 1))
    for number, conversation in enumerate(conversations):
        if (early := began + number * pause_s - loop.time()) > 0:
            await asyncio.sleep(early)
        conversation.finish(began + spread_s)
    await app[SEATS].emptied()


async def _ended(app: web.Application) -> None:
    """Wait until everybody is gone, but not for long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORD_SECONDS):
            await app[SEATS].emptied()
