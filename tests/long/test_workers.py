"""A worker that dies or freezes costs nobody but its own viewers anything, and them a moment."""

import asyncio
import signal
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.integration.platform import Platform
from tests.integration.process import SERVE, Start, logged
from tests.long.grandstand import DEVICES, Worker, grandstand
from tests.running import until
from tests.servers import Database

pytestmark = pytest.mark.timeout(600)

WORKERS = 3
VIEWERS = 300
NEWCOMERS = 12
"""Who come while a worker is frozen: it would be given none of them once in a hundred times."""
REAPED_WITHIN_SECONDS = 60
"""Three times as long as the others wait for a sign of life, and look."""


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
async def test_when_a_worker_dies_or_freezes_its_viewers_get_in_at_another_and_nobody_else_notices(
    platform: Platform, start: Start, database: Database, redis: Redis, stream: str, event: str, cookie: str,
    fate: signal.Signals,
) -> None:  # fmt: skip
    database.register(event, *map(str, range(DEVICES)))
    process = await start(*SERVE, "--workers", str(WORKERS), LIVE_WS_MAX_CONNECTIONS_PER_USER="1000")
    port = (await logged(process, r"live\.listening .* port=(\d+) workers"))[1]
    victim, *_ = await Worker.all_of(process, WORKERS)
    before = await groups_of(redis, stream)
    async with grandstand(platform, event, port, cookie) as stand:
        for _ in range(VIEWERS):
            await stand.take_a_seat()
        concerned = await victim.viewers(platform.session)
        assert 0 < concerned < VIEWERS
        victim.send(fate)
        if fate == signal.SIGSTOP:
            await asyncio.gather(*[stand.insist() for _ in range(NEWCOMERS)])
            await logged(process, rf"worker\.silent pid={victim.pid}$")
        await logged(process, r"worker\.died worker=0 status=-9 ")
        await until(lambda: stand.cut >= concerned)
        for _ in range(concerned):
            await stand.take_a_seat()
        await logged(process, r"check\.good check=fanout")
        async with asyncio.timeout(REAPED_WITHIN_SECONDS):
            while len(after := await groups_of(redis, stream)) > WORKERS:  # noqa: ASYNC110 - it is about other processes
                await asyncio.sleep(0.1)
    assert stand.cut == concerned
    assert len(before & after) == WORKERS - 1, "those of the living were never touched"


async def groups_of(redis: Redis, stream: str) -> set[str]:
    groups: Any = await redis.xinfo_groups(stream)
    return {group["name"] for group in groups}
