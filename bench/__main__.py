"""python -m bench [SCENARIO ...]: see bench/README.md."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import report
from bench.crowd import SOURCE, BenchError, compiled
from bench.isolation import command as isolation
from bench.measurement import Measurement, measure
from bench.peer import PEERS, set_up_peer
from bench.scenario import SCENARIOS, Scenario
from bench.soak import command as soak
from bench.stage import set_up
from processor_live_demo.child import ServerError

OURS = "processor_live"
HOPELESS_MS = 5_000
"""A peer whose p99 was above it need not be asked for more."""
OTHERS = {"isolation": isolation.main, "soak": soak.main}
"""Commands of their own."""


def main() -> None:
    """Run the command line. Raises `SystemExit`: 1 when a position was lost or nothing could be measured."""
    if sys.argv[1:] and sys.argv[1] in OTHERS:
        OTHERS[sys.argv[1]](sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures the live channel on this machine.",
        epilog="Two more that take longer: python -m bench soak --help, python -m bench isolation --help.",
    )
    default = [name for name in SCENARIOS if name != "smoke"]
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; default: all but smoke"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="where results.{json,md,svg} go (default: %(default)s)"
    )
    parser.add_argument("--peers", action="store_true", help="measure other servers, too, where they can do the same")
    chosen = parser.parse_args()
    names = chosen.scenarios or default
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}: there are {', '.join(SCENARIOS)}")
    try:
        measurements = asyncio.run(run([SCENARIOS[name] for name in names], with_peers=chosen.peers))
    except (BenchError, ServerError) as error:
        raise SystemExit(f"bench: {error}") from None
    report.write(measurements, chosen.out)
    print(report.table(measurements))
    sys.exit(any(one.failures for one in measurements if one.server == OURS))


async def run(scenarios: Sequence[Scenario], *, with_peers: bool) -> list[Measurement]:
    """Measure the scenarios one after another, each server on a stage of its own.

    Raises `BenchError` or `ServerError`.
    """
    measurements: list[Measurement] = []
    with _temporary() as tools:
        program = compiled(SOURCE, tools)
        peers = prepared(tools) if with_peers else {}
        for scenario in scenarios:
            report.tell(f"{scenario.name}: {scenario.about}")
            with _temporary() as directory:
                async with set_up(scenario, directory) as stage:
                    measurements.append(await measure(OURS, scenario, program, stage))
            for name, command in peers.items():
                if scenario.topics == 1 and not scenario.slow and not scenario.extensions:
                    if is_beyond(scenario, [one for one in measurements if one.server == name]):
                        report.tell(f"{scenario.name}: not {name}, which could not keep up with less")
                        continue
                    report.tell(f"{scenario.name}: {name}")
                    with _temporary() as directory:
                        async with set_up_peer(command, scenario, directory) as stage:
                            measurements.append(await measure(name, scenario, program, stage))
    return measurements


def is_beyond(scenario: Scenario, measured: Sequence[Measurement]) -> bool:
    """Return whether a server that was `measured` was seconds behind, with no more deliveries than in `scenario`."""
    return any(
        (one.failures or one.p99_ms > HOPELESS_MS) and one.clients * one.rate <= scenario.clients * scenario.rate
        for one in measured
    )


def prepared(tools: Path) -> dict[str, list[str]]:
    """Return the command of each peer that can be had here, and say which cannot."""
    commands = {}
    for number, peer in enumerate(PEERS):
        directory = tools / str(number)
        directory.mkdir()
        try:
            commands[peer.name] = peer.prepare(directory)
        except BenchError as error:
            report.tell(f"left out: {peer.name}: {error}")
    return commands


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="processor-live-bench-") as directory:
        yield Path(directory)


if __name__ == "__main__":
    main()
