"""Does Node's `ws` decode the shared stream, whatever it negotiates, and after falling behind?"""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.platform import EVENTUALLY_SECONDS, Message, Platform, now_ms
from tests.servers import Database

VIEWER = Path(__file__).parent / "viewer.js"
IMEIS = [f"35209308000000{number}" for number in range(10)]
LINE_BYTES = 1 << 20

Connect = Callable[[str, str, Any], Awaitable[Process]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Starts viewers: URL, cookie, the options of `perMessageDeflate`."""
    processes: list[Process] = []

    async def start(url: str, cookie: str, options: object) -> Process:
        command = ("node", str(VIEWER), url.replace("http", "ws", 1) + "/ws-live", cookie, json.dumps(options))
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES)
        processes.append(process)
        assert (await message(process))["type"] == "open"
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def message(viewer: Process) -> Message:
    assert viewer.stdout is not None
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        said: Message = json.loads(await viewer.stdout.readline())
    assert said["type"] != "failure", said
    return said


def say(viewer: Process, line: str | Message) -> None:
    assert viewer.stdin is not None
    viewer.stdin.write((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n")


async def follow(viewer: Process, topic: str, last: int) -> int:
    """Subscribe, and read until every device is at `last`; return how many positions that took."""
    say(viewer, {"type": "subscribe", "topic": topic})
    while (answer := await message(viewer))["type"] == "position":
        pass
    shown = {entry["deviceId"]: entry["ts"] for entry in answer["snapshot"]}
    count = 0
    while len(shown) < len(IMEIS) or set(shown.values()) != {last}:
        position = await message(viewer)
        assert position["ts"] > shown.get(position["deviceId"], 0)
        shown[position["deviceId"]] = position["ts"]
        count += 1
    return count


@pytest.mark.parametrize(
    "options",
    [True, False, {"serverNoContextTakeover": True}, {"clientNoContextTakeover": True, "threshold": 0}]
    + [{"serverMaxWindowBits": bits, "clientMaxWindowBits": bits, "threshold": 0} for bits in (9, 12, 15)],
    ids=str,
)
async def test_ws_decodes_what_it_shares_with_others(
    platform: Platform, database: Database, connect: Connect, event: str, topic: str, cookie: str, options: object
) -> None:
    database.register(event, *IMEIS)
    live = await platform.start()
    start, steps = now_ms(), 60
    viewers = [await connect(live.url, cookie, given) for given in (options, options, True)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for viewer in viewers:
            group.create_task(follow(viewer, topic, start + steps - 1))
        group.create_task(platform.trackers.drive(IMEIS, start, steps))
    say(viewers[0], "!close")
    assert await viewers[0].wait() == 0


async def test_ws_decodes_the_stream_again_after_it_fell_behind(
    platform: Platform, database: Database, connect: Connect, event: str, topic: str, cookie: str
) -> None:
    database.register(event, *IMEIS)
    live = await platform.start(LIVE_WS_BACKPRESSURE_THRESHOLD_BYTES="1024", LIVE_BROADCAST_BATCH_SIZE="10000")
    start, many, few = now_ms(), 4_000, 50
    slow, quick = [await connect(live.url, cookie, True) for _ in range(2)]
    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        slow_count = group.create_task(follow(slow, topic, start + many + few - 1))
        quick_count = group.create_task(follow(quick, topic, start + many + few - 1))
        say(slow, "!pause")
        await platform.trackers.drive(IMEIS, start, many)
        say(slow, "!resume")
        await platform.trackers.drive(IMEIS, start + many, few)
    assert slow_count.result() < quick_count.result()
