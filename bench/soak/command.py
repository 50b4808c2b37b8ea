"""python -m bench soak: see bench/README.md."""

import argparse
import asyncio
import json
import platform as machine
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.scenario import Scenario
from bench.soak.course import Course, Log, emptied, stopped
from bench.soak.crowd import gathered
from bench.soak.fault import StatusError
from bench.soak.life import SHORTEST_SECONDS, Life
from bench.soak.platform import set_up
from bench.soak.plot import plot
from bench.soak.trackers import Trackers
from bench.soak.view import Findings
from processor_live_demo.child import ServerError

TOPICS, DEVICES = 10, 8
"""So that a viewer gets little: what is tried here is not how much goes through."""

TOLD = {
    "closed_as_slow": ("live_disconnects_total", 'code="1013"'),
    "conflated": ("live_conflated_total", ""),
    "skipped_catching_up": ("live_catch_up_skipped_total", ""),
}
"""Metrics of the steady instance that say whether what is rare happened at all."""


def main(argv: Sequence[str]) -> None:
    """Run the command line. Raises `SystemExit`: 1 when something was lost or grew."""
    parser = argparse.ArgumentParser(prog="python -m bench soak", description="Lets one thing after another go wrong.")
    parser.add_argument("--minutes", type=float, default=13, help="how long in all (default: %(default)s)")
    parser.add_argument("--every", type=float, default=60, help="seconds from one fault to the next (%(default)s)")
    parser.add_argument("--viewers", type=int, default=200, help="at two instances (%(default)s)")
    parser.add_argument("--rate", type=int, default=150, help="records a second (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="where soak.{json,md,svg} go (default: %(default)s)"
    )
    chosen = parser.parse_args(argv)
    scenario = Scenario(
        name="soak", about="one thing after another goes wrong", clients=chosen.viewers, rate=chosen.rate,
        topics=TOPICS, devices=DEVICES, seconds=chosen.minutes * 60,
    )  # fmt: skip
    reason: BaseException | None = None
    try:
        log, facts = asyncio.run(run(scenario, chosen.every))
    except* (ServerError, StatusError, TimeoutError) as failures:
        reason = _first(failures)
    if reason is not None:
        raise SystemExit(f"bench: {reason}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    results = {"python": machine.python_version(), "machine": machine.platform(), **facts, **asdict(log)}
    (chosen.out / "soak.json").write_text(json.dumps(results) + "\n", encoding="utf-8")
    (chosen.out / "soak.md").write_text(summary(log) + "\n", encoding="utf-8")
    (chosen.out / "soak.svg").write_text(plot(log) + "\n", encoding="utf-8")
    print(summary(log))
    sys.exit(bool(log.failures))


async def run(scenario: Scenario, period_s: float) -> tuple[Log, dict[str, object]]:
    """Run a soak; return what was seen, and the figures of the crowd.

    Raises `ServerError`, `StatusError` or `TimeoutError`.
    """
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="processor-live-bench-") as directory:
        async with set_up(scenario, Path(directory)) as platform:
            imeis = [int(device.imei) for device in platform.roster.devices]
            trackers = Trackers(platform.redis.url, imeis, scenario.rate)
            async with gathered(scenario.clients, platform, findings) as crowd:
                log = await Course(platform, crowd, trackers).run(round(scenario.seconds / period_s), period_s)
            await trackers.close()
            _, steady = platform.instances
            facts = {what: await steady.health.metric(*metric) for what, metric in TOLD.items()}
            log.failures += await emptied(platform)
            log.failures += await stopped(platform)
    log.failures += [f"{count} {what}, as {findings.examples[what]}" for what, count in findings.counts.items()]
    log.failures += [failure for life in log.lives for failure in life.failures()]
    return log, {
        **facts,
        "viewers": scenario.clients,
        "records": trackers.sent,
        "records_lost": trackers.lost,
        "positions": crowd.positions,
        "closes": {str(code): count for code, count in crowd.company.closes.items()},
        "refusals": crowd.company.refusals,
    }


def _first(failures: BaseException) -> BaseException:
    """Return the first of the failures that happened together."""
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures


def summary(log: Log) -> str:
    """Return what came out, for people."""
    rows = ["| instance | life | minutes | memory grew by MB | descriptors by |", "| --- | --- | --- | --- | --- |"]
    rows += [_row(life) for life in log.lives]
    rows += ["", "| fault | times | at most s until all were up to date |", "| --- | --- | --- |"]
    for fault in dict.fromkeys(period.fault for period in log.periods):
        took = [period.reconciled_in_s for period in log.periods if period.fault == fault]
        rows.append(f"| {fault} | {len(took)} | {max(took):.1f} |")
    return "\n".join([*rows, "", *(log.failures or ["nothing was lost, and nothing grew"])])


def _row(life: Life) -> str:
    growth = life.growth()
    told = (f"{growth[0] / 1e6:.2f}", f"{growth[1]:.0f}") if growth else (f"shorter than {SHORTEST_SECONDS:.0f} s",) * 2
    return f"| {life.instance} | {life.number} | {life.seconds / 60:.0f} | {' | '.join(told)} |"
