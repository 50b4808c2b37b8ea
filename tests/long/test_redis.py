"""What takes its time: a Redis that is frozen for half a minute, and a stream that is read through as a whole."""

import asyncio
import time
from asyncio.subprocess import Process
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from processor_live_redis.fanout import HOLD_SECONDS
from tests.core.wire import metric
from tests.integration.platform import Platform, Viewer, now_ms
from tests.integration.process import SERVE, Start, logged
from tests.long.asking import RESPONSIVE_SECONDS, asking
from tests.own_redis import OwnRedis
from tests.redis.rally import FAILING, GOOD
from tests.running import keeping_a_diary
from tests.servers import Database

pytestmark = pytest.mark.timeout(600)

FROZEN_SECONDS = 30
ENTRIES = 1_000_000
"""What the producer keeps (docs/contract.md §6.1): no backlog is longer."""
DEVICES = 500
AT_ONCE = 50_000
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PAUSE_MS = 10_000
"""Before the very last entry, so that all before it are more than two seconds behind."""
FILL = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local at = string.format('2026-01-01T00:%02d:%02d.%03dZ',
        math.floor(number / 60000), math.floor(number / 1000) % 60, number % 1000)
    redis.call('XADD', KEYS[1], string.format('%.0f-0', ARGV[3] + number), 'payload', string.format(
        '{"device_id":"%d","timestamp":"%s","latitude":41.5,"longitude":19.5,"altitude":110,"angle":142,"speed":87,'
        .. '"satellites":9,"priority":0,"attributes":{"239":1,"240":1,"21":4,"200":0,"69":1,"181":9,"182":6,"66":12593,'
        .. '"67":4100,"68":0,"241":27602,"16":123456789}}', number % ARGV[4], at))
end
"""
"""One entry a millisecond, of the devices in turn."""


POISON = "for _ = 1, 100 do redis.call('XADD', KEYS[1], '*', 'payload', string.rep('x', 1000000)) end"
BATCH_MB = 500
"""A whole batch of them; Redis does not know how to hand out less at once than so many entries."""
PATIENCE_SECONDS = 120
LONG_SECONDS = 60
"""A whole stream takes 6 s of CPU."""
SMALL_MB = 32


@pytest.fixture
def redis_url(own_redis: OwnRedis) -> str:
    """A Redis that may be treated badly, for the whole platform."""
    return own_redis.url


async def test_a_redis_frozen_for_half_a_minute_is_waited_for(
    platform: Platform, own_redis: OwnRedis, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    with keeping_a_diary() as diary:
        live = await platform.start()
        viewer = await live.viewer(cookie)
        await viewer.snapshot(topic)
        ts = now_ms()
        await platform.trackers.report("1", ts)
        await viewer.until("1", ts)
        with own_redis.frozen():
            cpu, thaw = time.process_time(), time.monotonic() + FROZEN_SECONDS
            while time.monotonic() < thaw:
                async with asyncio.timeout(5):
                    newcomer = await live.viewer(cookie)
                    assert (await newcomer.snapshot(topic))["1"]["ts"] == ts
                await newcomer.socket.close()
                await asyncio.sleep(1)
            assert time.process_time() - cpu < FROZEN_SECONDS / 5
            assert "TimeoutError: no answer to" in (await live.until("unready"))["checks"]["fanout"]
            assert metric("live_check", check="fanout") == 0
        await live.until("ready")
        await platform.trackers.report("1", ts + 1)
        await viewer.until("1", ts + 1)
        assert diary.count(FAILING) == 1
        assert diary.count(GOOD) == 2


def memory_mb(process: Process, kind: str) -> float:
    """Return what the kernel says of a process's memory: `VmRSS` now, `VmHWM` at its most."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(kind)]
    return int(line.split()[1]) / 1024


@dataclass
class Away:
    """A service of its own, with a viewer, that Redis does not let in for as long as the test likes."""

    process: Process
    viewer: Viewer
    health: str
    redis: Redis

    async def back(self) -> None:
        """Let it in again."""
        await self.redis.acl_setuser("live", enabled=True)


@pytest.fixture
async def away(
    platform: Platform, start: Start, own_redis: OwnRedis, redis: Redis, database: Database, event: str, topic: str,
    cookie: str,
) -> Away:  # fmt: skip
    """It is already away when the test begins; devices are registered."""
    database.register(event, *[str(number) for number in range(DEVICES)])
    await redis.acl_setuser("live", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"])
    url = urlsplit(own_redis.url)
    process = await start(*SERVE, REDIS_URL=url._replace(netloc=f"live:pw@{url.netloc}").geturl())
    port = (await logged(process, r"live\.listening host=\S+ port=(\d+)"))[1]
    health = (await logged(process, r"health\.listening host=\S+ port=(\d+)"))[1]
    await logged(process, r"check\.good check=fanout")
    viewer = await platform.viewer(f"http://127.0.0.1:{port}/ws-live", cookie)
    assert await viewer.snapshot(topic) == {}
    await redis.acl_setuser("live", enabled=False)
    await redis.client_kill_filter(user="live")
    await logged(process, r"check\.failing check=fanout")
    return Away(process, viewer, f"http://127.0.0.1:{health}", redis)


async def test_a_backlog_of_a_million_is_read_through_and_only_the_newest_of_each_device_is_shown(
    platform: Platform, away: Away, redis: Redis, stream: str
) -> None:
    base, last = int(BEGAN.timestamp() * 1000), ENTRIES + PAUSE_MS
    for first in range(0, ENTRIES, AT_ONCE):
        await redis.eval(FILL, 1, stream, first, first + AT_ONCE - 1, base, DEVICES)
    await redis.eval(FILL, 1, stream, last, last, base, DEVICES)
    newest = {str(device): base + ENTRIES - DEVICES + device for device in range(DEVICES)}
    newest[str(last % DEVICES)] = base + last
    before = memory_mb(away.process, "VmRSS")
    async with asking(platform.session, f"{away.health}/healthz") as seconds:
        began = time.monotonic()
        await away.back()
        shown: dict[str, int] = {}
        while shown != newest:
            position = await away.viewer.receive(PATIENCE_SECONDS)
            shown[position["deviceId"]] = position["ts"]
        took = time.monotonic() - began
    assert took < LONG_SECONDS
    assert len(away.viewer.positions) <= DEVICES * (1 + took // HOLD_SECONDS)
    assert memory_mb(away.process, "VmHWM") - before < SMALL_MB
    assert max(seconds) < RESPONSIVE_SECONDS


async def test_a_batch_of_payloads_of_a_megabyte_is_survived_and_forgotten(
    platform: Platform, away: Away, redis: Redis, stream: str
) -> None:
    before = memory_mb(away.process, "VmRSS")
    for _ in range(5):
        await redis.eval(POISON, 1, stream)
    ts = now_ms()
    await platform.trackers.report("1", ts)
    async with asking(platform.session, f"{away.health}/healthz") as seconds:
        await away.back()
        while (await away.viewer.receive(PATIENCE_SECONDS))["ts"] != ts:
            pass
    assert max(seconds) < RESPONSIVE_SECONDS
    assert memory_mb(away.process, "VmHWM") - before < 2 * BATCH_MB
    assert memory_mb(away.process, "VmRSS") - before < SMALL_MB
