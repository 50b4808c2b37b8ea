"""Is this instance fit to serve, and if not, why?

One `Check` for everything that can degrade. Its changes are logged once, its state is a metric and a line of `/readyz`:
an operator who sees one of the three sees all.
"""

import asyncio
import dataclasses
import logging

from aiohttp import web
from prometheus_async.aio.web import server_stats

from processor_live import metrics

log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class Check:
    """One thing that is good or failing. A critical one, failing, makes the instance unready; others degrade it."""

    name: str
    critical: bool
    problem: str | None
    """Why it is failing, in one line for the operator; None while it is good."""
    _told: bool = dataclasses.field(default=False, init=False)
    """Whether the log says that it is failing; a problem from the start is only waiting to be solved."""

    been_good: asyncio.Event = dataclasses.field(default_factory=asyncio.Event, init=False)
    """Set once it has been good, whatever comes later."""

    def __post_init__(self) -> None:
        metrics.CHECKS.labels(self.name).set(self.problem is None)
        if self.problem is None:
            self.been_good.set()

    def good(self) -> None:
        """Say that all is well; logged when it was not."""
        if self.problem is not None:
            self.problem = None
            self._told = False
            self.been_good.set()
            metrics.CHECKS.labels(self.name).set(1)
            log.info("check.good check=%s", self.name)

    def failing(self, problem: str) -> None:
        """Say that something is wrong; logged when it was well before, not again while it lasts."""
        if not self._told:
            self._told = True
            metrics.CHECKS.labels(self.name).set(0)
            log.warning("check.failing check=%s problem=%r", self.name, problem)
        self.problem = problem


class Health:
    """All checks of an application."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self.draining = False
        self.port: int | None = None
        """Where `/readyz` answers, once it does: METRICS_PORT may be 0."""

    def check(self, name: str, *, critical: bool = False, problem: str | None = None) -> Check:
        """Add a check; `problem` is what fails from the start, until the first `good()`."""
        check = Check(name, critical, problem)
        self._checks.append(check)
        return check

    @property
    def status(self) -> str:
        """`draining`, `unready`, `degraded` or `ready`."""
        if self.draining:
            return "draining"
        failing = [check for check in self._checks if check.problem is not None]
        if any(check.critical for check in failing):
            return "unready"
        return "degraded" if failing else "ready"

    async def warm(self) -> None:
        """Wait until everything critical has been good once."""
        for check in self._checks:
            if check.critical:
                await check.been_good.wait()

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer 200 when new clients are welcome (ready or degraded), else 503; the body says what is wrong."""
        status = self.status
        checks = {check.name: check.problem or "good" for check in self._checks}
        code = 200 if status in {"ready", "degraded"} else 503
        return web.json_response({"status": status, "checks": checks}, status=code)


HEALTH: web.AppKey[Health] = web.AppKey("health", Health)
"""Where plugins add their checks."""


async def healthz(_: web.Request) -> web.Response:
    """Answer 200: the event loop runs."""
    return web.Response(text="alive\n")


def make_health_app(health: Health) -> web.Application:
    """Return the application of the metrics port: `/metrics`, `/healthz`, `/readyz`."""
    app = web.Application()
    app.router.add_get("/metrics", server_stats)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", health.readyz)
    return app
