"""What do others need for the same work? Servers that get the same records and have the same crowd."""

import asyncio
import os
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.crowd import BenchError, compiled
from bench.process import Process
from bench.scenario import Scenario
from bench.service import STREAM
from bench.stage import Stage, bound, cores, roster_of
from processor_live_demo.embedded import valkey

HERE = Path(__file__).parent / "peers"
START_SECONDS = 30.0
WS, WEBSOCKETS = "ws@8", "websockets>=15"
"""What is fetched from the package registries, into a directory that goes with the run."""


@dataclass(frozen=True)
class Peer:
    """Another server: it reads positions as lines of JSON on stdin, and says its port on stdout."""

    name: str
    prepare: Callable[[Path], list[str]]
    """Gets what it needs into a directory and returns its command. Raises `BenchError`."""


def _node(directory: Path) -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise BenchError("needs Node.js and npm")
    _run(npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(directory), WS)
    return ["env", f"NODE_PATH={directory / 'node_modules'}", node, str(HERE / "node_ws.js")]


def _websockets(directory: Path) -> list[str]:
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory / "python"), WEBSOCKETS)
    return ["env", f"PYTHONPATH={directory / 'python'}", sys.executable, str(HERE / "websockets_broadcast.py")]


def _aiohttp(_: Path) -> list[str]:
    return [sys.executable, str(HERE / "aiohttp_send.py")]


def _c(directory: Path) -> list[str]:
    return [str(compiled(HERE / "batch.c", directory))]


PEERS = (
    Peer("C, batching (the limit)", _c),
    Peer("Node ws, JSON per client", _node),
    Peer("websockets broadcast", _websockets),
    Peer("aiohttp send_str", _aiohttp),
)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command[:3])} failed: {' '.join(done.stderr.split())[-200:]}")


@asynccontextmanager
async def set_up_peer(command: list[str], scenario: Scenario, directory: Path) -> AsyncIterator[Stage]:
    """Run a prepared peer with the stream's positions on its stdin. Raises `BenchError` or `ServerError`."""
    own, others = cores()
    (event,) = roster_of(scenario).events
    with ExitStack() as stack:
        stack.enter_context(bound(others))
        redis_url = stack.enter_context(valkey(directory))
        reading, writing = os.pipe()
        with bound(own):
            peer = await asyncio.create_subprocess_exec(*command, stdin=reading, stdout=PIPE)
        stack.callback(peer.kill)
        relay = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.relay", redis_url, STREAM, event.topic, stdout=writing
        )
        stack.callback(relay.kill)
        os.close(reading)
        os.close(writing)
        assert peer.stdout is not None  # noqa: S101 - a pipe, by construction
        async with asyncio.timeout(START_SECONDS):
            port = int(await peer.stdout.readline() or 0)
        if not port:
            raise BenchError(f"{command[-1]} did not start")
        yield Stage(port=port, process=Process(peer.pid), redis_url=redis_url, cookie="none", topics=[event.topic])
