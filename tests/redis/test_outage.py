"""Whatever becomes of Redis, the fan-out loses nothing that it can get, says what is wrong, and never runs hot."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
from aiohttp import web
from redis.asyncio import Redis

from processor_live import StartError
from processor_live_demo.embedded import free_port
from tests.own_redis import OwnRedis
from tests.redis.rally import FAILING, GOOD, Rally, rally_on, somebody_waits
from tests.running import EVENTUALLY_SECONDS, Diary, app_with, problem, running, until


async def test_a_destroyed_group_loses_nothing(rally: Rally, diary: Diary) -> None:
    async with running(rally.app):
        created = await diary.line("group.created")
        name = created.split("group=")[1].split()[0]
        await rally.add(("1", 10_000))
        await rally.until("1", 10_000)
        await rally.redis.xgroup_destroy(rally.stream, name)
        await rally.add(("1", 10_001))
        await rally.until("1", 10_001)
        assert "NOGROUP" in await diary.line(FAILING)
        await diary.line(GOOD)


async def test_cut_connections_lose_nothing(own_rally: Rally) -> None:
    async with running(own_rally.app):
        for first in (10_000, 20_000, 30_000):
            await somebody_waits(own_rally.redis)
            await own_rally.redis.client_kill_filter(_type="normal", skipme=True)
            await own_rally.add(*[(str(ms), first + ms) for ms in range(100)])
            await own_rally.until("99", first + 99)
    assert len(set(own_rally.published)) == len(own_rally.published) == 300


async def test_a_redis_that_dies_and_comes_back_empty_heals_by_itself(
    own_redis: OwnRedis, own_rally: Rally, diary: Diary
) -> None:
    async with running(own_rally.app):
        await diary.line(GOOD)
        await own_rally.add(("1", 10_000))
        await own_rally.until("1", 10_000)
        own_redis.close()
        assert "ConnectionError" in await diary.line(FAILING)
        assert "ConnectionError" in str(problem(own_rally.app, "fanout"))
        own_redis.start()
        await own_rally.add(("1", 9_000), ("2", 9_000))
        await own_rally.until("2", 9_000)
        await diary.line(GOOD)
    assert own_rally.published == [("1", 10_000), ("2", 9_000)], "a younger stream was read, and the late stayed late"


async def test_a_flushed_redis_heals_by_itself(own_rally: Rally, diary: Diary) -> None:
    async with running(own_rally.app):
        await diary.line(GOOD)
        await own_rally.redis.flushall()
        await diary.line(GOOD)
        await own_rally.add(("1", 10_000))
        await own_rally.until("1", 10_000)


async def test_a_redis_that_is_not_there_at_the_start_is_waited_for(
    own_redis: OwnRedis, own_rally: Rally, diary: Diary
) -> None:
    own_redis.close()
    async with running(own_rally.app):
        await diary.line(FAILING)
        own_redis.start()
        await diary.line(GOOD)


async def test_the_service_stops_in_time_though_redis_is_frozen(
    own_redis: OwnRedis, own_rally: Rally, diary: Diary
) -> None:
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(own_rally.app)
    await runner.setup()
    await diary.line(GOOD)
    with own_redis.frozen():
        began = loop.time()
        await runner.cleanup()
        assert loop.time() - began < 4
    assert "TimeoutError" in await diary.line("group.left_behind")


async def test_a_redis_that_stops_answering_is_noticed(
    own_redis: OwnRedis, own_rally: Rally, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor_live_redis.connection.GRACE_SECONDS", 0.2)
    async with running(own_rally.app):
        await diary.line(GOOD)
        with own_redis.frozen():
            assert "TimeoutError" in await diary.line(FAILING)
        await diary.line(GOOD)
        await own_rally.add(("1", 10_000))
        await own_rally.until("1", 10_000)


async def test_the_longest_quiet_read_that_is_allowed_is_no_failure(
    redis_url: str, stream: str, connection: Redis, diary: Diary
) -> None:
    async with running(rally_on(redis_url, stream, connection, LIVE_BROADCAST_BATCH_BLOCK_MS="5000").app):
        await diary.line(GOOD)
    assert diary.count(FAILING) == 0


@pytest.mark.usefixtures("credulity")
async def test_every_outage_begins_with_a_short_pause(own_rally: Rally, diary: Diary) -> None:
    """Without that the eighth of these would last for seconds."""
    async with running(own_rally.app), asyncio.timeout(EVENTUALLY_SECONDS):
        name = (await diary.line("group.created")).split("group=")[1].split()[0]
        await diary.line(GOOD)
        for ts in range(10_000, 10_008):
            await somebody_waits(own_rally.redis)
            await own_rally.add(("1", ts))
            await own_rally.until("1", ts)
            await own_rally.redis.xgroup_destroy("stream", name)
            await diary.line(FAILING)
            await diary.line(GOOD)


def become_rarer(moments: Sequence[float]) -> bool:
    """Return whether between attempts to read there are the pauses that an outage of Redis has."""
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    return all(pause >= shortest * 0.95 for pause, shortest in zip(pauses, [0.05, 0.1, 0.2, 0.4], strict=True))


async def test_while_no_read_that_waits_is_answered_attempts_become_rarer(
    own_redis: OwnRedis, own_client: Redis
) -> None:
    """A proxy may cut whoever waits: each attempt begins with commands that are answered."""
    rally = rally_on(own_redis.url, "stream", own_client, LIVE_BROADCAST_BATCH_BLOCK_MS="5000")
    moments = []
    async with running(rally.app):
        for _ in range(5):
            await somebody_waits(own_client)
            moments.append(asyncio.get_running_loop().time())
            await own_client.client_kill_filter(_type="normal", skipme=True)
    assert become_rarer(moments)


@pytest.fixture(params=[b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["nothing", "HTTP"])
async def hanging_up(request: pytest.FixtureRequest) -> AsyncIterator[tuple[int, asyncio.Queue[float]]]:
    """A port where everybody is hung up on, with a word or without one, and the moments of the attempts."""
    attempts: asyncio.Queue[float] = asyncio.Queue()

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.put_nowait(asyncio.get_running_loop().time())
        writer.write(request.param)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], attempts


async def test_while_redis_is_down_attempts_become_rarer(
    hanging_up: tuple[int, asyncio.Queue[float]], connection: Redis, stream: str
) -> None:
    port, attempts = hanging_up
    rally = rally_on(f"redis://127.0.0.1:{port}/0", stream, connection)
    async with running(rally.app), asyncio.timeout(EVENTUALLY_SECONDS):
        moments = [await attempts.get() for _ in range(5)]
    assert become_rarer(moments)


async def test_a_stream_that_is_none_is_no_hot_loop(own_rally: Rally, diary: Diary) -> None:
    """Every command succeeds in reaching Redis and fails there at once."""
    loop = asyncio.get_running_loop()
    async with running(own_rally.app):
        await diary.line(GOOD)
        began = loop.time()
        await own_rally.redis.set("stream", "a string")
        await until(lambda: "WRONGTYPE" in str(problem(own_rally.app, "fanout")))
        await own_rally.redis.config_resetstat()
        reads = 0
        while reads < 3:
            statistics = await own_rally.redis.info("commandstats")
            reads = statistics.get("cmdstat_xrevrange", {}).get("calls", 0)
        assert loop.time() - began >= 0.3
        await own_rally.redis.delete("stream")
        await diary.line(GOOD)


async def test_an_instance_id_that_is_taken_makes_the_second_process_unready_until_the_first_stops(
    redis_url: str, stream: str, connection: Redis, diary: Diary
) -> None:
    first, second = (rally_on(redis_url, stream, connection, INSTANCE_ID="one") for _ in range(2))
    async with AsyncExitStack() as stack:
        async with running(first.app):
            await diary.line(GOOD)
            await stack.enter_async_context(running(second.app))
            assert "InstanceTakenError" in await diary.line(FAILING)
            await first.add(("1", 10_000))
            await first.until("1", 10_000)
            assert second.published == []
        await diary.line(GOOD)
        assert second.published == [("1", 10_000)], "it has warmed its table"


@pytest.mark.parametrize("url", ["redis://:q8zz/7secret@127.0.0.1:6379/0", "redis://:q8zz7secret@127.0.0.1:x/0"])
async def test_a_url_that_cannot_be_read_stops_the_start_with_a_line_that_holds_no_password(url: str) -> None:
    with pytest.raises(StartError) as caught:
        app_with("fanout", REDIS_URL=url)
    assert "REDIS_URL" in str(caught.value)
    assert "q8zz" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_options_in_the_url_change_nothing_that_the_reading_relies_on(
    redis_url: str, stream: str, connection: Redis, diary: Diary
) -> None:
    """Or text would come where bytes are expected, and every quiet moment would be an outage."""
    rally = rally_on(f"{redis_url}?decode_responses=yes&protocol=3&socket_timeout=0.01", stream, connection)
    async with running(rally.app):
        await diary.line(GOOD)
        await rally.add(("1", 10_000))
        await rally.until("1", 10_000)
    assert diary.count(FAILING) == 0


async def test_a_refused_connection_is_told_without_the_password(stream: str, connection: Redis, diary: Diary) -> None:
    url = f"redis://user:q8zz7secret@127.0.0.1:{free_port()}/0"
    async with running(rally_on(url, stream, connection).app):
        await diary.line(FAILING)
    assert diary.count("q8zz7secret") == 0
