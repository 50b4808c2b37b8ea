"""What can a plugin be told, after the fact?

Four signals, none of them per message; append a coroutine function in `setup`. A receiver that raises is logged and
counted, and the others are still told. While a receiver works, further commands of that connection wait, nobody else's.
"""

import logging
from typing import TypeVarTuple

from aiohttp import web
from aiosignal import Signal

from processor_live import metrics
from processor_live.cancellation import no_strays
from processor_live.connection import Connection
from processor_live.failure import one_line

log = logging.getLogger(__name__)
_Ts = TypeVarTuple("_Ts")

CONNECTED = web.AppKey("connected", Signal[Connection])
SUBSCRIBED = web.AppKey("subscribed", Signal[Connection, str])
UNSUBSCRIBED = web.AppKey("unsubscribed", Signal[Connection, str])
DISCONNECTED = web.AppKey("disconnected", Signal[Connection])


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


async def tell(signal: Signal[*_Ts], *args: *_Ts) -> None:
    """Tell every receiver of `signal`, whatever becomes of the others (docs/contract.md §5 G8)."""
    for receiver in signal:
        try:
            with no_strays():
                await receiver(*args)
        except Exception as error:
            metrics.PLUGIN_FAILURES.labels("signal").inc()
            name = getattr(receiver, "__qualname__", receiver)
            log.warning("signal.failed receiver=%s error=%r", name, one_line(error), exc_info=error)
