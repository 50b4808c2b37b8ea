"""python -m bench isolation: see bench/README.md."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.crowd import BenchError
from bench.isolation.comparison import INSTANCES, Run, failures, table, told
from bench.isolation.durable import catch_up, set_up
from bench.report import tell
from processor_live_demo.child import ServerError


async def run(rounds: int) -> list[Run]:
    """Take turns, then kill one."""
    runs = []

    async def one(count: int, **how: bool) -> None:
        runs.append(await catch_up(durable, count, **how))
        tell(told(runs[-1]))

    async with set_up() as durable:
        for _ in range(rounds):
            await one(0)
            for count in INSTANCES:
                await one(count, away=True)
                await one(count)
        await one(1, kill=True)
    return runs


def main(argv: Sequence[str]) -> None:
    """Run the command line. Raises `SystemExit`: 1 when the writer was slowed down or a record was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m bench isolation", description="Lets the durable writer catch up beside the live channel."
    )
    parser.add_argument("--rounds", type=int, default=5, help="of five runs each (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="where isolation.json goes (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    try:
        runs = asyncio.run(run(options.rounds))
    except (BenchError, ServerError, TimeoutError) as error:
        raise SystemExit(f"bench: {error}") from None
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "isolation.json").write_text(json.dumps([asdict(one) for one in runs]) + "\n", encoding="utf-8")
    print(table(runs))
    found = failures(runs)
    print("\n".join(found or ["no difference above the noise, and every record is stored"]))
    sys.exit(bool(found))
