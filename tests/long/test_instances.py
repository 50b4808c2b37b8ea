"""Of several processes with one INSTANCE_ID, by mistake, one serves."""

import asyncio
import re
import signal

from tests.integration.departure import Service
from tests.integration.platform import Platform
from tests.integration.process import SERVE, Start, logged
from tests.servers import Database

TAKEN = "InstanceTakenError: another process lives, or died within 15 s, with INSTANCE_ID 'one'"
READY = "200 ready"
PATIENCE_SECONDS = 40
"""For the liveness key of the dead to expire, and the next attempt of who waits for that."""


async def instance(start: Start, platform: Platform, sign: str) -> Service:
    """Start a process, and wait for a sign in its log."""
    process, log = await start(*SERVE, INSTANCE_ID="one"), list[str]()
    await logged(process, sign, log)
    [port] = re.findall(r"health\.listening host=\S+ port=(\d+)", "".join(log))
    return Service(process, 0, [int(port)], platform.session, log)


async def one_serves(services: list[Service]) -> Service:
    """Wait until one of them is ready, see that the others are not, and return it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while READY not in (said := [status for service in services for status in await service.statuses()]):
            pass
    assert said.count(READY) == 1
    return services[said.index(READY)]


async def test_of_three_with_one_id_one_serves_also_after_it_has_been_killed(
    platform: Platform, start: Start, database: Database, event: str
) -> None:
    database.register(event, "1")
    first = await instance(start, platform, r"check\.good check=fanout")
    others = [await instance(start, platform, TAKEN) for _ in range(2)]
    assert await one_serves([first, *others]) is first
    first.process.kill()
    heir = await one_serves(others)
    heir.process.send_signal(signal.SIGTERM)
    await heir.end(PATIENCE_SECONDS)
    others.remove(heir)
    last = await one_serves(others)
    last.process.send_signal(signal.SIGTERM)
    assert (await last.end(PATIENCE_SECONDS)).count(TAKEN) == 1, "told once, however long it lasts"
