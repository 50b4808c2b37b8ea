"""What happens on an open connection, from the upgrade to its end?"""

import asyncio
import logging
from typing import Any, cast

from aiohttp import hdrs, web

from processor_live import metrics
from processor_live.command_queue import CommandQueue
from processor_live.connection import GOODBYE_SECONDS, Connection
from processor_live.deflate import WINDOW_BITS
from processor_live.handshake import IDENTITY, client_address, cookie_of, refusal, unavailable
from processor_live.health import HEALTH
from processor_live.kernel import bound_send_buffer
from processor_live.laggards import Laggards
from processor_live.protocol import MAX_MESSAGE_BYTES, SUBPROTOCOL, Disconnect
from processor_live.seats import SEATS
from processor_live.settings import SETTINGS
from processor_live.signals import CONNECTED, DISCONNECTED, tell
from processor_live.subscription import Subscriptions

log = logging.getLogger(__name__)

LAGGARDS: web.AppKey[Laggards] = web.AppKey("laggards", Laggards)
SUBSCRIPTIONS: web.AppKey[Subscriptions] = web.AppKey("subscriptions", Subscriptions)
CONNECTIONS: web.AppKey[dict[Connection, asyncio.Task[Any]]] = web.AppKey(
    "connections", dict[Connection, asyncio.Task[Any]]
)
"""All that are open, each with the task that serves it."""

CLIENT_GONE = 499
"""nginx's status for a client that did not wait for its answer; only metrics see it."""
_KNOWN_CODES = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4401})


async def live(request: web.Request) -> web.StreamResponse:
    """Serve one client, from the last checks of its handshake to its end."""
    identity = request.get(IDENTITY)
    if identity is None:
        return refusal(401, "nobody vouched for you: the server has no authentication plugin")
    app = request.app
    if app[HEALTH].draining:  # it may have begun while Directus was asked
        return unavailable("the server is stopping")
    if request.transport is None or request.transport.is_closing():
        return refusal(CLIENT_GONE, "you have gone")
    with app[SEATS].one_for(identity.user) as seated:
        if not seated:
            return refusal(429, "you have as many connections as you may; close one first")
        ws = web.WebSocketResponse(
            heartbeat=app[SETTINGS].ping_interval_ms / 1000,  # drops a peer silent for half of it more
            max_msg_size=MAX_MESSAGE_BYTES + 1,  # aiohttp refuses what reaches it
            protocols=(SUBPROTOCOL,),
            compress=app[SETTINGS].compression,
            autoclose=False,  # Connection.read answers a close frame
            timeout=GOODBYE_SECONDS,
        )
        await ws.prepare(request)
        metrics.HANDSHAKES.labels(ws.status).inc()
        connection = _connection(request, ws)
        app[CONNECTIONS][connection] = cast("asyncio.Task[Any]", asyncio.current_task())
        with metrics.CONNECTIONS.track_inprogress():
            try:
                await _converse(app, ws, connection)
            finally:
                del app[CONNECTIONS][connection]
                app[LAGGARDS].discard(connection)
    return ws


def _connection(request: web.Request, ws: web.WebSocketResponse) -> Connection:
    transport = cast("asyncio.Transport", request.transport)
    bound_send_buffer(transport)
    return Connection(
        ws,
        transport,
        identity=request[IDENTITY],
        cookie=cookie_of(request),
        address=client_address(request),
        inflates=_inflates(ws),
        threshold=request.app[SETTINGS].backpressure_threshold_bytes,
        lag=request.app[LAGGARDS].add,
    )


def _inflates(ws: web.WebSocketResponse) -> bool:
    """Return whether this client can decode a stream that it shares with others."""
    agreed = ws.headers.get(hdrs.SEC_WEBSOCKET_EXTENSIONS, "")
    return ws.compress >= WINDOW_BITS and "server_no_context_takeover" not in agreed


async def _converse(app: web.Application, ws: web.WebSocketResponse, connection: Connection) -> None:
    """Answer the client until the connection ends."""
    subscriptions = app[SUBSCRIPTIONS]
    queue = CommandQueue(connection, subscriptions.execute, app[SETTINGS].max_commands_per_second)
    await tell(app[CONNECTED], connection)
    try:
        await connection.read(queue.put)
    finally:
        await queue.close()
        await subscriptions.leave_all(connection)
        await connection.say_goodbye()
        code = connection.closing.code if connection.closing is not None else ws.close_code or 1006
        metrics.DISCONNECTS.labels(code if code in _KNOWN_CODES else "other").inc()
        await tell(app[DISCONNECTED], connection)


async def drain(app: web.Application) -> None:
    """Say goodbye to every client with 1012, within the drain time; to be called when no new ones can come."""
    app[HEALTH].draining = True
    handlers = app[CONNECTIONS].copy()
    for connection in handlers:
        connection.close(Disconnect.RESTART)
    if handlers:
        log.info("drain.started connections=%d", len(handlers))
        _, late = await asyncio.wait(handlers.values(), timeout=app[SETTINGS].drain_timeout_ms / 1000)
        for connection in app[CONNECTIONS].copy():
            connection.cut()
        log.info("drain.ended late=%d", len(late))
