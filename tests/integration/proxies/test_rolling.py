"""Do viewers notice that instances behind the shipped nginx are restarted, one after the other?"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from processor_live_demo.access import Access
from tests.integration.conftest import ANA
from tests.integration.platform import EVENTUALLY_SECONDS, Platform, now_ms
from tests.integration.process import Start
from tests.integration.proxies import shipped
from tests.integration.proxies.conftest import Deploy
from tests.integration.proxies.instance import Instance
from tests.integration.proxies.spectator import ABNORMAL, RESTART, Spectator
from tests.link import link_to
from tests.own_redis import OwnRedis
from tests.servers import Database

BAD_GATEWAY = 502
GAP_SECONDS = 3.0
EVENTS, DEVICES, SPECTATORS = 10, 80, 40
"""Devices and spectators are shared out among the events; one device of each is parked and reports no more."""
TICK_SECONDS = 0.025
"""Between the reports of two events' devices: 280 records a second, and each spectator sees something every 0.25 s."""
BYTES_PER_SECOND = 3_000_000
"""Of the way to Redis: to read the tail of the stream takes a good part of a second, as a long one's does."""
TAIL = 2_000
"""Records that are in the stream before it begins."""


class Rally:
    """Several events whose devices report to the stream, and nobody who stores what they report."""

    def __init__(self, platform: Platform, events: Iterable[str]) -> None:
        self._trackers = platform.trackers
        self.topics = [f"event:{event}" for event in events]
        imeis = [f"35209308{number:07d}" for number in range(DEVICES)]
        self.fields = [imeis[number::EVENTS] for number in range(EVENTS)]
        """The devices of each event."""
        self._over = False

    async def gather(self) -> None:
        """Let all devices report, and most of them again and again."""
        await self._trackers.drive([imei for field in self.fields for imei in field], now_ms() - TAIL, 1)
        moving = self.fields[0][1:]
        await self._trackers.drive(moving, now_ms() - TAIL, TAIL // len(moving))

    async def drive(self) -> None:
        """Let the devices of one event after the other report until it is over, but for those that are parked."""
        while not self._over:
            for _, *moving in self.fields:
                await self._trackers.drive(moving, now_ms(), 1)
                await asyncio.sleep(TICK_SECONDS)

    def end(self) -> None:
        """Let it be over: redis-py may swallow a cancellation."""
        self._over = True


@pytest.fixture
def redis_url(own_redis: OwnRedis) -> str:
    """Here the platform has a Redis of its own, to which the way may be narrow."""
    return own_redis.url


@pytest.fixture
async def rally(platform: Platform, database: Database, access: Access) -> Rally:
    events = [database.add_event() for _ in range(EVENTS)]
    access.users[ANA].events.update(events)
    rally = Rally(platform, events)
    for event, imeis in zip(events, rally.fields, strict=True):
        database.register(event, *imeis)
    await rally.gather()
    return rally


@pytest.fixture
async def instances(platform: Platform, start: Start, own_redis: OwnRedis) -> AsyncIterator[list[Instance]]:
    """Two of them, not running yet, to which the way from Redis is narrow."""
    async with link_to(own_redis.port) as link:
        link.bytes_per_second = BYTES_PER_SECOND
        settings = {
            "REDIS_URL": f"redis://127.0.0.1:{link.port}/0",
            "LIVE_WS_MAX_CONNECTIONS_PER_USER": str(2 * SPECTATORS),  # some who have gone may count for a moment
        }
        yield [Instance(platform, start, settings) for _ in range(2)]


@pytest.fixture
async def spectators(deploy: Deploy, instances: list[Instance], rally: Rally, cookie: str) -> list[Spectator]:
    """Not watching yet, while the instances run."""
    for instance in instances:
        await instance.begin()
    front = await deploy(shipped.nginx, *instances)
    return [Spectator(front, cookie, rally.topics[number % EVENTS]) for number in range(SPECTATORS)]


@asynccontextmanager
async def watching(rally: Rally, spectators: list[Spectator]) -> AsyncIterator[None]:
    """Let the devices drive and everybody watch for as long as this lasts, and have a map in the end."""
    async with asyncio.TaskGroup() as group:
        group.create_task(rally.drive())
        tasks = [group.create_task(each.watch()) for each in spectators]
        await all_follow(spectators)
        yield
        await all_follow(spectators)
        rally.end()
        for task in tasks:
            task.cancel()


async def all_follow(spectators: list[Spectator]) -> None:
    """Wait until everybody has a map."""
    try:
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            for each in spectators:
                await each.follows.wait()
    except TimeoutError:
        without = [each.ends for each in spectators if not each.follows.is_set()]
        raise AssertionError(f"{without}, nginx: {spectators[0].front.proxy.log_tail()}") from None


def longest_gap_s(spectators: list[Spectator]) -> float:
    """Return how long somebody was without data."""
    return max(each.look() for each in spectators)


async def test_in_rolling_restarts_nobody_is_without_data_for_3_s_nor_has_an_older_map_than_before(
    rally: Rally, instances: list[Instance], spectators: list[Spectator]
) -> None:
    async with watching(rally, spectators):
        for instance in instances * 2:
            assert await instance.end(signal.SIGTERM) == 0
            await all_follow(spectators)
            await instance.begin()
    assert longest_gap_s(spectators) < GAP_SECONDS
    assert {code for each in spectators for code in each.ends} == {RESTART}
    assert [each.steps_back for each in spectators if each.steps_back] == []


async def test_when_an_instance_is_killed_or_all_of_them_the_next_map_is_no_older_than_the_last(
    rally: Rally, instances: list[Instance], spectators: list[Spectator]
) -> None:
    async with watching(rally, spectators):
        await instances[0].end(signal.SIGKILL)
        await all_follow(spectators)
        assert longest_gap_s(spectators) < GAP_SECONDS
        await instances[0].begin()
        await asyncio.gather(*(each.end(signal.SIGKILL) for each in instances))
        await asyncio.gather(*(each.begin() for each in instances))
        for each in spectators:
            each.wake()  # attempts have become rare (docs/contract.md §9.6)
    assert {code for each in spectators for code in each.ends} == {ABNORMAL, BAD_GATEWAY}
    assert [each.steps_back for each in spectators if each.steps_back] == []
