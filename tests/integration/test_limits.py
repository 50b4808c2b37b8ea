"""When there is no more room, who is in stays served, who is not is told when to come back, and health is reachable."""

import asyncio
import os
import signal
from pathlib import Path

from processor_live.descriptors import HEADROOM, OWN_FILES
from tests.core.stranger import strangers
from tests.integration.platform import Platform, now_ms
from tests.integration.process import Start, logged
from tests.servers import Database

FILES = 200
ROOM = FILES - HEADROOM - OWN_FILES
FEW_FILES = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
from processor_live.__main__ import main
main(["serve"])
"""
PRESSURE_SECONDS = 2
"""Of people knocking at a door that nobody can open."""
HOT = 0.5
"""Share of a core: left to asyncio, the log alone takes all of it."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, by the kernel's account."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_when_the_open_files_run_out_viewers_are_served_and_strangers_turned_away(
    platform: Platform, start: Start, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    process = await start("-c", FEW_FILES, LIVE_WS_MAX_CONNECTIONS_PER_USER="1000")
    lines: list[str] = []
    port = int((await logged(process, r"live\.listening host=\S+ port=(\d+)", lines))[1])
    await logged(process, rf"WARNING \S+ descriptors\.few room={ROOM} ", lines)
    health = (await logged(process, r"health\.listening host=\S+ port=(\d+)", lines))[1]
    await logged(process, r"check\.good check=fanout", lines)

    viewers = [await platform.viewer(f"ws://127.0.0.1:{port}/ws-live", cookie) for _ in range(ROOM)]
    async with strangers(port) as (one_too_many,):
        assert await one_too_many.upgrade(f"Cookie: {cookie}") == 503
    async with platform.session.get(f"http://127.0.0.1:{health}/readyz") as response:
        assert (await response.json())["status"] == "ready", "of the files that the viewers leave, health has its own"
    await asyncio.gather(*[viewer.snapshot(topic) for viewer in viewers])

    loop, ts = asyncio.get_running_loop(), now_ms()
    async with strangers(port, FILES) as crowd:
        await logged(process, r"check\.failing check=descriptors", lines)
        assert b"503 Service Unavailable\r\nRetry-After: " in await crowd[-1].rest()
        began, used = loop.time(), cpu_seconds(process.pid)
        while loop.time() - began < PRESSURE_SECONDS:
            ts += 1
            await platform.trackers.report("1", ts)
            for viewer in viewers:
                await viewer.until("1", ts)
            async with strangers(port):
                await asyncio.sleep(0.02)
        assert (cpu_seconds(process.pid) - used) / (loop.time() - began) < HOT
    await viewers[0].socket.close()
    await platform.viewer(f"ws://127.0.0.1:{port}/ws-live", cookie)
    process.send_signal(signal.SIGTERM)
    for viewer in platform.viewers[1:]:
        assert await viewer.close_code() == 1012
    _, rest = await process.communicate()
    assert process.returncode == 0
    log = "".join(lines) + rest.decode()
    assert log.count("check.failing") == 1
    assert "Traceback" not in log
