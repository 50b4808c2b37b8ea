"""How is the service put together?

`init` is for `python -m aiohttp.web -H HOST -P PORT processor_live.app:init`; `make_app` for everybody else.
"""

import logging
import math
import os
from collections.abc import AsyncIterator, Mapping, Sequence

from aiohttp import web
from aiohttp.http import HttpProcessingError

from processor_live import plugins
from processor_live.background import run_in_background
from processor_live.doorman import keep_the_door
from processor_live.endpoint import CONNECTIONS, LAGGARDS, LEISURE, SUBSCRIPTIONS, drain, live
from processor_live.failure import cannot_listen
from processor_live.handshake import ENDPOINT_ROUTE, NEWCOMERS, PATHS, check_handshake
from processor_live.health import HEALTH, Health, make_health_app
from processor_live.hub import HUB, Hub
from processor_live.laggards import Laggards
from processor_live.opening import open_when_warm
from processor_live.patience import Patience
from processor_live.repetition import FailuresOnce
from processor_live.seats import SEATS, Seats
from processor_live.settings import ENVIRON, SETTINGS, Settings, load
from processor_live.signals import add_signals
from processor_live.slots import ROUTE, add_slots
from processor_live.stopping import hear_impatience
from processor_live.subscription import Subscriptions
from processor_live.threads import let_threads_end

log = logging.getLogger(__name__)

LAST_REQUEST_SECONDS = 0.5
"""What a request may take to come to its end after a stop, and once more after it has been cancelled."""


def init(_argv: Sequence[str] = ()) -> web.Application:
    """Return the application for this process's environment, and log as it says. Raise `StartError`."""
    app = make_app(os.environ)
    app.cleanup_ctx.insert(0, let_threads_end)
    app.on_shutdown.insert(0, hear_impatience)
    log_to_stderr(app[SETTINGS].log_level)
    return app


def log_to_stderr(level: str) -> None:
    """Log events of `level` and above on stderr, one line each, and of a failure that repeats itself not every one.

    Not aiohttp's access log: one line per viewer tells nothing that the metrics do not.
    """
    layout = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=level.upper(), format=layout, force=True)
    for handler in logging.getLogger().handlers:
        handler.addFilter(FailuresOnce())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.server").addFilter(_is_no_strangers_nonsense)


def _is_no_strangers_nonsense(record: logging.LogRecord) -> bool:
    """Return whether a record is about us: of what is no HTTP, aiohttp quotes the line, which may be a cookie."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


def make_app(environ: Mapping[str, str]) -> web.Application:
    """Return the application with the core and the plugins that `environ` names. Raise `StartError`."""
    settings = load(Settings, environ)
    app = web.Application(middlewares=[check_handshake])
    app[ENVIRON] = environ
    app[SETTINGS] = settings
    app[HEALTH] = Health()
    app[SEATS] = Seats(settings.max_connections, settings.max_connections_per_user)
    app[LAGGARDS] = Laggards(settings.slow_timeout_ms / 1000)
    app[NEWCOMERS] = {}
    app[CONNECTIONS] = {}
    app[LEISURE] = Patience(math.inf)
    add_slots(app)
    add_signals(app)
    route = app[ROUTE]
    hub = app[HUB] = Hub(
        lambda device_id: route.answer(device_id),  # noqa: PLW0108 - looked up late: a plugin fills the slot below
        settings.flush_interval_ms / 1000,
    )
    app[SUBSCRIPTIONS] = Subscriptions(app)
    for number, path in enumerate(PATHS):
        app.router.add_get(path, live, name=f"{ENDPOINT_ROUTE}.at{number}", allow_head=False)
    app.cleanup_ctx.append(keep_the_door)
    app.cleanup_ctx.append(_health_site)
    run_in_background(app, "hub", hub.run)
    run_in_background(app, "laggards", app[LAGGARDS].run)
    app.on_shutdown.append(drain)
    plugins.install(app, settings.plugins)
    app.on_startup.append(open_when_warm)
    return app


async def _health_site(app: web.Application) -> AsyncIterator[None]:
    """Serve metrics and health on their own port, reachable also when the live one is full."""
    settings = app[SETTINGS]
    runner = web.AppRunner(make_health_app(app[HEALTH]), access_log=None, shutdown_timeout=LAST_REQUEST_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.metrics_host, settings.metrics_port).start()
    except OSError as error:
        await runner.cleanup()
        raise cannot_listen("METRICS", settings.metrics_host, settings.metrics_port, error) from None
    host, port = runner.addresses[0][:2]
    log.info("health.listening host=%s port=%d instance=%s", host, port, settings.instance_id)
    app[HEALTH].port = port
    yield
    await runner.cleanup()
