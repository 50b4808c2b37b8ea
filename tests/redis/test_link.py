"""Whatever becomes of the way to Redis, all that Redis has arrives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.link import Link, link_to
from tests.own_redis import OwnRedis
from tests.redis.rally import FAILING, GOOD, Rally, rally_on, somebody_waits
from tests.running import Diary, problem, running, until

TIME_OUTS = 3
"""One more than it takes from a batch of four to a single entry."""


@pytest.fixture
async def link(own_redis: OwnRedis) -> AsyncIterator[Link]:
    async with link_to(own_redis.port) as link:
        yield link


def far_from(link: Link, own_client: Redis, **environ: str) -> Rally:
    """Return a rally at the other end of the link."""
    url = f"redis://127.0.0.1:{link.port}/0"
    return rally_on(url, "stream", own_client, **environ)


@pytest.fixture
async def far_rally(link: Link, own_client: Redis) -> Rally:
    """Such a rally with the tests' usual settings."""
    return far_from(link, own_client)


async def follow(redis: Redis, port: int | None) -> None:
    """Make a server the replica of another one, or of none."""
    master = ("127.0.0.1", port) if port else ("NO", "ONE")
    await redis.execute_command("REPLICAOF", *master)  # type: ignore[no-untyped-call]


async def test_what_comes_while_a_lost_connection_still_waits_at_the_server_is_read(
    link: Link, own_client: Redis, diary: Diary
) -> None:
    """Redis would give it to who is not there any more, and for the group it would be delivered."""
    far_rally = far_from(link, own_client, LIVE_BROADCAST_BATCH_BLOCK_MS="5000")
    records = [("1", 10_000 + ms) for ms in range(10)]
    async with running(far_rally.app):
        await somebody_waits(own_client)
        link.tells_the_server = False
        link.cut()
        await diary.line(FAILING)
        await diary.line("group.created")
        for record in records:
            await far_rally.add(record)
        await far_rally.until(*records[-1])
    assert far_rally.published == records


@pytest.mark.usefixtures("credulity")
async def test_an_answer_that_is_cut_in_the_middle_is_read_again(
    link: Link, own_client: Redis, far_rally: Rally, diary: Diary
) -> None:
    async with running(far_rally.app):
        await diary.line(GOOD)
        for first in (10_000, 20_000, 30_000):
            await somebody_waits(own_client)
            link.bytes_left = 5_000
            await far_rally.add(*[(str(ms), first + ms) for ms in range(100)])
            await diary.line(FAILING)
            await far_rally.until("99", first + 99)
    assert len(set(far_rally.published)) == len(far_rally.published) == 300


async def test_a_way_too_narrow_for_a_batch_carries_it_in_parts(
    link: Link, own_client: Redis, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for again and again as it is, it would never arrive."""
    monkeypatch.setattr("processor_live_redis.connection.GRACE_SECONDS", 0.4)
    far_rally = far_from(link, own_client, LIVE_BROADCAST_BATCH_SIZE="40")
    records = [(str(number), 10_000 + number) for number in range(40)]
    async with running(far_rally.app):
        await diary.line(GOOD)
        await somebody_waits(own_client)
        link.bytes_per_second = 160_000
        await far_rally.add(*records, padding="x" * 3_000)
        assert "no answer to XREADGROUP within 0.5 s" in await diary.line(FAILING)
        await far_rally.until(*records[-1])
        await diary.line(GOOD)
    assert far_rally.published == records


async def reads(redis: Redis) -> int:
    """Return how often entries have been asked for since the statistics were reset."""
    calls: int = (await redis.info("commandstats")).get("cmdstat_xreadgroup", {}).get("calls", 0)
    return calls


@pytest.fixture
async def impatient_rally(link: Link, own_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Rally:
    """A rally that reads four entries at once, gives up soon, and soon tries again."""
    monkeypatch.setattr("processor_live_redis.connection.GRACE_SECONDS", 0.4)
    monkeypatch.setattr("processor_live_redis.fanout.BACKOFF_SECONDS", (0.01, 0.01))
    return far_from(link, own_client, LIVE_BROADCAST_BATCH_SIZE="4")


async def test_a_way_that_is_wide_again_carries_whole_batches_though_more_keeps_coming(
    link: Link, own_client: Redis, impatient_rally: Rally, diary: Diary
) -> None:
    records = [(str(number), 10_000 + number) for number in range(64)]
    async with running(impatient_rally.app):
        await diary.line(GOOD)
        await somebody_waits(own_client)
        link.bytes_per_second = 90_000
        await impatient_rally.add(*records, padding="x" * 40_000)
        await impatient_rally.until(*records[0])
        await own_client.config_resetstat()
        link.bytes_per_second = float("inf")
        await impatient_rally.until(*records[-1])
        assert await reads(own_client) < len(records) / 2
    assert impatient_rally.published == records


async def test_a_redis_that_was_frozen_for_long_is_read_in_whole_batches_though_more_keeps_coming(
    own_redis: OwnRedis, own_client: Redis, link: Link, impatient_rally: Rally, diary: Diary
) -> None:
    """That a key was not written in time says nothing about how many entries come in time."""
    records = [(str(number), 10_000 + number) for number in range(64)]
    async with running(impatient_rally.app), asyncio.TaskGroup() as group:
        await diary.line(GOOD)
        await somebody_waits(own_client)
        await own_client.config_resetstat()
        with own_redis.frozen():
            group.create_task(impatient_rally.add(*records))
            await until(lambda: link.connections > TIME_OUTS)
        await impatient_rally.until(*records[-1])
        assert await reads(own_client) < len(records) / 2
    assert impatient_rally.published == records


async def test_after_a_failover_the_server_that_took_over_is_read_and_not_the_replica(
    own_redis: OwnRedis, own_client: Redis, link: Link, far_rally: Rally, diary: Diary, tmp_path: Path
) -> None:
    """The old one goes on answering: only who asks for the address again finds the new one."""
    with closing(OwnRedis(tmp_path / "successor")) as successor:
        async with running(far_rally.app), Redis.from_url(successor.url, protocol=2) as promoted:
            await diary.line(GOOD)
            await far_rally.add(("1", 10_000))
            await far_rally.until("1", 10_000)
            await own_client.config_set("repl-diskless-sync-delay", "0")
            await follow(promoted, own_redis.port)
            while (await promoted.info("replication"))["master_link_status"] != "up":
                pass
            await follow(promoted, None)
            await follow(own_client, successor.port)
            await diary.line(FAILING)
            await until(lambda: "ReadOnlyError" in str(problem(far_rally.app, "fanout")))
            link.target = successor.port
            await diary.line(GOOD)
            far_rally.redis = promoted
            await far_rally.add(("1", 10_001))
            await far_rally.until("1", 10_001)


async def test_a_stream_that_has_lost_its_end_in_a_failover_is_read_on_whatever_its_clock_says(
    own_rally: Rally, diary: Diary
) -> None:
    """The group stands after an entry that is no more; the ids of what comes now may be lower."""
    redis = own_rally.redis
    async with running(own_rally.app):
        await diary.line(GOOD)
        await own_rally.add(("1", 10_000), ("2", 10_000))
        await own_rally.until("2", 10_000)
        await own_rally.add(("1", 30_000))
        await own_rally.until("1", 30_000)
        await redis.xtrim("stream", maxlen=0)
        await redis.execute_command("XSETID", "stream", "10000-0")  # type: ignore[no-untyped-call]
        await somebody_waits(redis)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await diary.line(FAILING)
        await own_rally.add(("2", 20_000))
        await own_rally.until("2", 20_000)


async def test_a_redis_may_be_reached_through_a_unix_socket(link: Link, own_client: Redis, tmp_path: Path) -> None:
    rally = rally_on(f"unix://{tmp_path}/redis", "stream", own_client)
    async with await asyncio.start_unix_server(link.carry, tmp_path / "redis"), running(rally.app):
        await somebody_waits(own_client)
        await rally.add(("1", 10_000))
        await rally.until("1", 10_000)
