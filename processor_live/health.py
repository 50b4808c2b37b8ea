"""Is this instance fit to serve, and if not, why?

One `Check` for everything that can degrade. Its changes are logged once, its state is a metric and a line of `/readyz`:
an operator who sees one of the three sees all.
"""

import asyncio
import dataclasses
import logging
import time

from aiohttp import web
from prometheus_async.aio.web import server_stats

from processor_live import metrics

log = logging.getLogger(__name__)

DOUBT_SECONDS = (1.0, 60.0)
"""For how long a check that fails again must be well to be good again: at first and at most, twice as long each time.

It fails again when it has not been good for the longest of these since the last time."""


@dataclasses.dataclass(eq=False)
class Check:
    """One thing that is good or failing. A critical one, failing, makes the instance unready; others degrade it."""

    name: str
    critical: bool
    problem: str | None
    """Why it is failing, in one line for the operator; None while it is good."""
    _told: bool = dataclasses.field(default=False, init=False)
    """Whether the log says that it is failing; a problem from the start is only waiting to be solved."""
    _doubt_s: float = dataclasses.field(default=0.0, init=False)
    """For how long it must be well to be good again."""
    _good_at: float | None = dataclasses.field(default=None, init=False)
    """When it became good again the last time."""
    _recovery: asyncio.TimerHandle | None = dataclasses.field(default=None, init=False)
    """While it is well, and not believed yet."""

    been_good: asyncio.Event = dataclasses.field(default_factory=asyncio.Event, init=False)
    """Set once it has been good, whatever comes later."""

    def __post_init__(self) -> None:
        metrics.CHECKS.labels(self.name).set(self.problem is None)
        if self.problem is None:
            self.been_good.set()

    def good(self) -> None:
        """Say that all is well; logged when it was not.

        What fails every other time is failing: then all must be well for a while before it is believed, and the log has
        a few lines and not one for each change.
        """
        if self.problem is None or self._recovery is not None:
            return
        if self._doubt_s:
            self._recovery = asyncio.get_running_loop().call_later(self._doubt_s, self._recover)
        else:
            self._recover()

    def _recover(self) -> None:
        if self._told:
            self._good_at = time.monotonic()
        self.problem = self._recovery = None
        self._told = False
        self.been_good.set()
        metrics.CHECKS.labels(self.name).set(1)
        log.info("check.good check=%s", self.name)

    def failing(self, problem: str) -> None:
        """Say that something is wrong; logged when it was well before, not again while it lasts."""
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None
        if not self._told:
            self._told = True
            first, longest = DOUBT_SECONDS
            again = self._good_at is not None and time.monotonic() < self._good_at + longest
            self._doubt_s = min(max(first, 2 * self._doubt_s), longest) if again else 0.0
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
