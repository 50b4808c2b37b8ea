"""How is the crowd of viewers run? A small C program, so that the load is never the bottleneck."""

import asyncio
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scenario import Scenario

SOURCE = Path(__file__).parent / "crowd.c"
SATURATED = 0.9
"""Share of the time that the crowd may be busy; above it, it measures itself."""
CONNECT_SECONDS = 120.0
LINE_BYTES = 1 << 26
FIRST_IMEI = 352_093_080_000_000


class BenchError(Exception):
    """The benchmark cannot be run; the message says why in one line."""


def compiled(source: Path, directory: Path) -> Path:
    """Compile a C program with the system's compiler. Raise `BenchError`."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError("needs a C compiler (Debian and Ubuntu: apt-get install gcc libc6-dev)")
    program = directory / source.stem
    done = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{compiler} cannot compile {source.name}: {done.stderr.splitlines()[:1]}")
    return program


@dataclass
class Crowd:
    """The viewers of a scenario, all connected and subscribed."""

    process: Process

    @classmethod
    async def gathered(
        cls, program: Path, port: int, cookie: str, scenario: Scenario, topics: Sequence[str]
    ) -> "Crowd":
        """Connect and subscribe all of them. Raise `BenchError` when some were refused."""
        process = await asyncio.create_subprocess_exec(
            str(program), "127.0.0.1", str(port), cookie, str(scenario.clients), str(scenario.slow),
            str(scenario.devices), str(FIRST_IMEI), str(scenario.in_flight), scenario.extensions, *topics,
            stdin=PIPE, stdout=PIPE, limit=LINE_BYTES,
        )  # fmt: skip
        crowd = cls(process)
        async with asyncio.timeout(CONNECT_SECONDS):
            told = await crowd._answer()
        if told["refused"]:
            raise BenchError(f"{told['refused']} of {scenario.clients} clients were refused")
        return crowd

    async def begin(self) -> None:
        """Count from now on."""
        await self._ask("begin")

    async def end(self) -> dict[str, Any]:
        """Return what was counted: frames, bytes, latencies in milliseconds, and whether the crowd kept up itself."""
        counted: dict[str, Any] = await self._ask("end")
        return counted

    async def hurry(self) -> None:
        """Let the slow ones read as fast as the others from now on."""
        await self._ask("hurry")

    async def last(self) -> list[list[int]]:
        """Return for each client its topic's number, and the newest `ts` it had of the topic's devices."""
        newest: list[list[int]] = await self._ask("last")
        return newest

    async def leave(self) -> None:
        """Disconnect them all, without a goodbye."""
        self.process.kill()
        await self.process.wait()

    async def _ask(self, command: str) -> Any:  # noqa: ANN401 - JSON
        assert self.process.stdin is not None  # noqa: S101 - a pipe, by construction
        self.process.stdin.write(command.encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> Any:  # noqa: ANN401 - JSON
        assert self.process.stdout is not None  # noqa: S101 - a pipe, by construction
        line = await self.process.stdout.readline()
        if not line:
            raise BenchError(f"the crowd ended with status {await self.process.wait()}")
        return json.loads(line)
