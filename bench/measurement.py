"""How is one scenario measured?"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.crowd import FIRST_IMEI, SATURATED, Crowd
from bench.scenario import Scenario
from bench.service import STREAM
from bench.stage import Stage

DRAIN_SECONDS = 10.0
"""What may pass after the last record until everybody has the newest positions."""
COOL_DOWN_SECONDS = 1.0
POLL_SECONDS = 0.2
LATE_PUBLISHER_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What came out. `failures` is empty when nothing was lost; `doubts` say why a figure may not be the service's."""

    server: str
    scenario: str
    clients: int
    rate: int
    deliveries_per_s: float
    cpu_share: float
    """Of one core."""
    cpu_us_per_delivery: float
    cpu_us_per_record: float
    latencies_read: bool
    """Compressed positions are counted, not read."""
    p50_ms: int
    p99_ms: int
    p999_ms: int
    loop_lag_p99_ms: float | None
    """None where the server cannot be asked."""
    wire_bytes_per_delivery: float
    memory_kb_per_client: float
    subscribing_s: float
    """From the first handshake to the last `subscribed`."""
    conflated: int
    failures: tuple[str, ...]
    doubts: tuple[str, ...]


async def measure(name: str, scenario: Scenario, program: Path, stage: Stage) -> Measurement:
    """Measure the server `name` on its stage. Raises `BenchError`."""
    before = stage.process.memory_bytes()
    crowd = await Crowd.gathered(program, stage.port, stage.cookie, scenario, stage.topics)
    memory = stage.process.memory_bytes() - before
    try:
        publishing = asyncio.create_task(publish(scenario, stage))
        await asyncio.sleep(scenario.warm_up_s)
        lags_s: list[float] = []
        lagging = asyncio.create_task(stage.health.loop_lag(lags_s)) if stage.health else None
        cpu_s = stage.process.cpu_seconds()
        await crowd.begin()
        await asyncio.sleep(scenario.seconds)
        counted = await crowd.end()
        cpu_s = stage.process.cpu_seconds() - cpu_s
        if lagging:
            lagging.cancel()
        published = await publishing
        failures = await reconcile(scenario, crowd, published)
        conflated = 0
        if stage.health:
            health = stage.health
            conflated = int(
                await health.metric("live_conflated_total") + await health.metric("live_catch_up_skipped_total")
            )
            if not conflated and not scenario.slow:
                failures += await complete(scenario, crowd, published)
    finally:
        await crowd.leave()
    frames = counted["frames"] or 1
    return Measurement(
        server=name,
        scenario=scenario.name,
        clients=scenario.clients,
        rate=scenario.rate,
        deliveries_per_s=counted["frames"] / counted["seconds"],
        cpu_share=cpu_s / counted["seconds"],
        cpu_us_per_delivery=cpu_s * 1e6 / frames,
        cpu_us_per_record=cpu_s * 1e6 / (scenario.rate * counted["seconds"]),
        latencies_read=counted["frames"] > counted["compressed"],
        p50_ms=counted["p50_ms"],
        p99_ms=counted["p99_ms"],
        p999_ms=counted["p999_ms"],
        loop_lag_p99_ms=sorted(lags_s)[int(len(lags_s) * 0.99)] * 1000 if lags_s else None,
        wire_bytes_per_delivery=counted["bytes"] / frames,
        memory_kb_per_client=memory / 1024 / scenario.clients,
        subscribing_s=counted["subscribing_ms"] / 1000,
        conflated=conflated,
        failures=tuple(failures),
        doubts=tuple(doubts_about(stage, counted, published)),
    )


def doubts_about(stage: Stage, counted: dict[str, Any], published: dict[str, Any]) -> list[str]:
    """Return why the figures may not be the server's."""
    doubts = []
    if stage.shares_its_core():
        doubts.append("the server shares its core with the load")
    if counted["busy"] > SATURATED:
        doubts.append(f"the crowd was busy {counted['busy']:.0%} of the time: it measured itself")
    if published["behind_s"] > LATE_PUBLISHER_SECONDS:
        doubts.append(f"the publisher fell {published['behind_s']:.2f} s behind its schedule")
    return doubts


async def publish(scenario: Scenario, stage: Stage) -> dict[str, Any]:
    """Run the publisher to its end and return what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.publisher", stage.redis_url, STREAM, str(FIRST_IMEI),
        str(scenario.topics * scenario.devices), str(scenario.rate),
        str(scenario.warm_up_s + scenario.seconds + COOL_DOWN_SECONDS), stdout=PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    published: dict[str, Any] = json.loads(said)
    return published


async def reconcile(scenario: Scenario, crowd: Crowd, published: dict[str, Any]) -> list[str]:
    """Return what is missing once everything has had its time to arrive: everybody must have every newest position."""
    failures = []
    await crowd.hurry()
    if not scenario.extensions:
        behind = await _behind(crowd, published["newest"], scenario.devices)
        if behind:
            failures.append(f"{behind} newest positions never arrived")
    counted = await crowd.end()
    if counted["lost"]:
        failures.append(f"{counted['lost']} connections were lost")
    if counted["backwards"]:
        failures.append(f"{counted['backwards']} positions went backwards")
    return failures


async def complete(scenario: Scenario, crowd: Crowd, published: dict[str, Any]) -> list[str]:
    """Return what is missing when nothing was conflated: everybody must have every position of their topic."""
    rounds, rest = divmod(published["sent"], scenario.topics * scenario.devices)  # the devices take turns
    expected = sum(
        rounds * scenario.devices + min(max(rest - client % scenario.topics * scenario.devices, 0), scenario.devices)
        for client in range(scenario.clients)
        if client >= scenario.slow
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS
    while (  # noqa: ASYNC110 - it happens in another process
        arrived := (await crowd.end())["all_frames"]
    ) < expected and loop.time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
    return [] if arrived == expected else [f"{arrived} of {expected} positions arrived, though none was conflated"]


async def _behind(crowd: Crowd, newest: list[int], devices: int) -> int:
    """Wait until nobody is behind; return how many newest positions are missing if that does not come about."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS
    while True:
        behind = sum(
            had != newest[topic * devices + device]
            for topic, *positions in await crowd.last()
            for device, had in enumerate(positions)
        )
        if not behind or loop.time() > deadline:
            return behind
        await asyncio.sleep(POLL_SECONDS)
