"""How does a soak go? A fault in every period, and at the end of every period everybody must be up to date."""

import asyncio
import itertools
import signal
from dataclasses import dataclass, field

from bench.report import tell
from bench.soak.crowd import Crowd
from bench.soak.fault import FAULTS, Fault, live_groups
from bench.soak.life import Life, Sample
from bench.soak.platform import Instance, Platform
from bench.soak.trackers import Trackers

SAMPLE_SECONDS = 5.0
CALM = 0.7
"""The share of a period after which everybody is gathered."""
GAUGES = ("live_connections", "live_subscriptions", "live_topics", "live_lagging_connections")
"""What must be zero when everybody has left."""
QUIET_SECONDS = 20.0
"""What that may take."""
RECONCILE_SECONDS = 20.0
"""What may pass after the last records until everybody is there and has the newest positions."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Period:
    """One fault, and what came of it."""

    fault: str
    at_s: float
    healed_s: float
    reconciled_in_s: float
    """How long it took from the last record until everybody had the newest positions."""


@dataclass
class Log:
    """What was seen in the course of a soak."""

    lives: list[Life] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    deliveries: list[tuple[float, float]] = field(default_factory=list)
    """When, and how many positions all viewers together received a second."""
    failures: list[str] = field(default_factory=list)


class Course:
    """A soak of so many periods of so many seconds."""

    def __init__(self, platform: Platform, crowd: Crowd, trackers: Trackers) -> None:
        self._platform = platform
        self._crowd = crowd
        self._trackers = trackers
        self._log = Log()
        self._began = asyncio.get_running_loop().time()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def run(self, periods: int, seconds: float) -> Log:
        """Go through it. Raises `ServerError`, `StatusError` or `TimeoutError` when the service is not there at all."""
        async with asyncio.TaskGroup() as group:
            meanwhile = [group.create_task(self._look()), group.create_task(self._trackers.drive())]
            for fault in itertools.islice(itertools.cycle(FAULTS), periods):
                await self._period(fault, self._now + seconds, seconds)
            for task in meanwhile:
                task.cancel()
        return self._log

    async def _period(self, fault: Fault, end_s: float, seconds: float) -> None:
        at_s = self._now
        tell(f"{at_s:6.0f} s  {fault.name}")
        async with fault.inflict(self._platform):
            await asyncio.sleep(fault.seconds)
        healed_s = self._now
        await asyncio.sleep(max(end_s - (1 - CALM) * seconds - self._now, 0))
        for instance in self._platform.instances:
            instance.check()
        reconciled_in_s = await self._reconcile()
        self._log.periods.append(Period(fault.name, at_s, healed_s, reconciled_in_s))
        tell(f"{self._now:6.0f} s  reconciled after {reconciled_in_s:.1f} s")
        await asyncio.sleep(max(end_s - self._now, 0))

    async def _reconcile(self) -> float:
        """Gather everybody; return how long it took until all had the newest position of every device."""
        company = self._crowd.company
        newest = await self._trackers.stop()
        began = self._now
        company.gathering.set()
        while (  # noqa: ASYNC110 - it happens in other processes
            lacking := self._lacking(newest)
        ) and self._now - began < RECONCILE_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
        for example in lacking:
            company.findings.add("did not come right in time", example)
        took = self._now - began
        company.gathering.clear()
        self._trackers.go_on()
        return took

    def _lacking(self, newest: dict[str, int]) -> list[str]:
        """Return what is missing until all is as it should be: connections that nobody has must be gone, too."""
        lacking = self._crowd.lacking(newest)
        for instance in self._platform.instances:
            held = sum(local == instance.port and remote > 0 for local, remote in instance.process.connections())
            if held != (known := self._crowd.connected(instance)):
                lacking.append(f"{instance.name}: {held} connections of {known} viewers")
        return lacking

    async def _look(self) -> None:
        """Look at both instances for ever."""
        before = self._crowd.positions
        looked_s = self._now
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            positions, now_s = self._crowd.positions, self._now
            self._log.deliveries.append((now_s, (positions - before) / (now_s - looked_s)))
            before, looked_s = positions, now_s
            for instance in self._platform.instances:
                if instance.open.is_set():
                    self._look_at(instance)

    def _look_at(self, instance: Instance) -> None:
        process = instance.process
        try:
            memory_bytes, descriptors = process.memory_bytes(), process.descriptors()
            descriptors -= sum(
                (local == instance.port and remote > 0) or remote == self._platform.directus.port
                for local, remote in process.connections()
            )
        except OSError:
            return  # it was just ended
        lives = [life for life in self._log.lives if life.instance == instance.name]
        if not lives or lives[-1].number != instance.life:
            lives.append(Life(instance.name, instance.life))
            self._log.lives.append(lives[-1])
        lives[-1].samples.append(Sample(self._now, memory_bytes, descriptors))


async def emptied(platform: Platform) -> list[str]:
    """Return what the instances still hold once everybody has left."""
    failures = []
    loop = asyncio.get_running_loop()
    deadline = loop.time() + QUIET_SECONDS
    for instance in platform.instances:
        while left := {name: value for name in GAUGES if (value := await instance.health.metric(name))}:
            if loop.time() > deadline:
                failures.append(f"{instance.name}: with nobody there, {left}")
                break
            await asyncio.sleep(POLL_SECONDS)
    return failures


async def stopped(platform: Platform) -> list[str]:
    """Stop the instances, and return what is not as it should be then."""
    statuses = {instance.name: await instance.end(signal.SIGTERM) for instance in platform.instances}
    failures = [f"{name}: exited with status {status}" for name, status in statuses.items() if status]
    if groups := await live_groups(platform):
        failures.append(f"groups left in Redis: {', '.join(groups)}")
    return failures
