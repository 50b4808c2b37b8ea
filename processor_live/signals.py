"""What can a plugin be told, after the fact?

Four signals, none per message; append a coroutine function in `setup`. What has happened to a connection is told in its
order, and to the end, also when the client has gone meanwhile: whoever counts, counts right. A receiver that raises or
hangs is logged and counted, and the others are still told. While a receiver works, further commands of that connection
wait; nobody else's do, and no goodbye does.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVarTuple

from aiohttp import web
from aiosignal import Signal

from processor_live import metrics
from processor_live.cancellation import no_strays
from processor_live.connection import Connection
from processor_live.failure import one_line

log = logging.getLogger(__name__)
_Ts = TypeVarTuple("_Ts")

RECEIVER_SECONDS = 3.0
"""What a receiver may take for one call; then it is cancelled."""

CONNECTED = web.AppKey("connected", Signal[Connection])
SUBSCRIBED = web.AppKey("subscribed", Signal[Connection, str])
UNSUBSCRIBED = web.AppKey("unsubscribed", Signal[Connection, str])
DISCONNECTED = web.AppKey("disconnected", Signal[Connection])

_TELLING: dict[Connection, asyncio.Task[None]] = {}
"""The last that is being told of a connection; it comes after all that was before."""


def add_signals(app: web.Application) -> None:
    """Put the four signals on `app`; they take receivers until it starts."""
    app[CONNECTED] = Signal[Connection](app)
    app[SUBSCRIBED] = Signal[Connection, str](app)
    app[UNSUBSCRIBED] = Signal[Connection, str](app)
    app[DISCONNECTED] = Signal[Connection](app)

    async def freeze(_: web.Application) -> None:
        for signal in (app[CONNECTED], app[SUBSCRIBED], app[UNSUBSCRIBED], app[DISCONNECTED]):
            signal.freeze()

    app.on_startup.append(freeze)


def tell(signal: Signal[Connection, *_Ts], connection: Connection, *args: *_Ts) -> None:
    """Have every receiver of `signal` told, after what is still being told of this connection."""
    if not signal:
        return
    telling = asyncio.create_task(_tell(_TELLING.get(connection), signal, connection, *args))
    _TELLING[connection] = telling
    telling.add_done_callback(partial(_end, connection))


async def told(connection: Connection) -> None:
    """Wait until all is told that has happened to this connection; who stops waiting stops nothing else."""
    if connection in _TELLING:
        await asyncio.wait([_TELLING[connection]])


def when_told(connection: Connection, do: Callable[[], None]) -> None:
    """Call `do` when all is told that has happened to this connection; at once, if it is."""
    if connection in _TELLING:
        _TELLING[connection].add_done_callback(lambda _: do())
    else:
        do()


def _end(connection: Connection, telling: asyncio.Task[None]) -> None:
    if _TELLING[connection] is telling:
        del _TELLING[connection]


async def _tell(
    before: asyncio.Task[None] | None, signal: Signal[Connection, *_Ts], connection: Connection, *args: *_Ts
) -> None:
    """Tell every receiver, whatever becomes of the others (docs/contract.md §5 G8)."""
    if before is not None:
        await asyncio.wait([before])
    for receiver in signal:
        try:
            async with asyncio.timeout(RECEIVER_SECONDS):
                with no_strays():
                    await receiver(connection, *args)
        except Exception as error:
            metrics.PLUGIN_FAILURES.labels("signal").inc()
            name = getattr(receiver, "__qualname__", receiver)
            log.warning("signal.failed receiver=%s error=%r", name, one_line(error), exc_info=error)
