"""An instance's consumer group shows it every entry once, whatever happens to group and stream."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from processor_live import Check
from processor_live_redis.group import PAGE, Group
from tests.own_redis import OwnRedis
from tests.redis.groups import SOON_MS, MakeGroup, add, groups, read
from tests.running import EVENTUALLY_SECONDS


async def test_it_starts_at_the_tail_and_goes_on_from_there(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    await add(connection, stream, "before")
    group = make_group()
    await group.open()
    assert await read(group) == []
    await add(connection, stream, "a", "b")
    assert await read(group) == ["a", "b"]
    await add(connection, stream, "c")
    assert await read(group) == ["c"]


async def test_it_makes_the_stream_that_does_not_exist_yet(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    group = make_group()
    await group.open()
    assert group.last == b"0-0"
    assert await connection.xlen(stream) == 0
    assert list(await groups(connection, stream)) == ["live-one"]
    await add(connection, stream, "first")
    assert await read(group) == ["first"]


async def test_a_read_returns_as_soon_as_something_comes(connection: Redis, stream: str, make_group: MakeGroup) -> None:
    group = make_group()
    await group.open()
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        reading = asyncio.create_task(group.read(500, 60_000))
        await add(connection, stream, "a")
        assert [fields[1] for _, fields in await reading] == [b"a"]


async def test_a_read_returns_no_more_than_asked_for_and_the_next_one_the_rest(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    group = make_group()
    await group.open()
    ids = await add(connection, stream, "a", "b", "c")
    assert await read(group, 2) == ["a", "b"]
    assert group.last == ids[1]
    assert await read(group, 2) == ["c"]
    assert group.last == ids[2]


async def test_nothing_stays_pending(connection: Redis, stream: str, make_group: MakeGroup) -> None:
    group = make_group()
    await group.open()
    await add(connection, stream, *"abcde")
    assert await read(group) == list("abcde")
    assert (await groups(connection, stream))["live-one"]["pending"] == 0
    summary: Any = await connection.xpending(stream, f"{stream}:live-one")
    assert summary["pending"] == 0


async def test_two_instances_get_everything_each(connection: Redis, stream: str, make_group: MakeGroup) -> None:
    one, two = make_group("one"), make_group("two")
    await one.open()
    await two.open()
    await add(connection, stream, *"abc")
    assert await read(one) == list("abc")
    assert await read(two) == list("abc")


async def test_going_backwards_stops_at_the_limit_or_the_given_time_and_misses_nothing(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    total = 2 * PAGE + 500
    pipeline: Any
    async with connection.pipeline(transaction=False) as pipeline:
        for number in range(1, total + 1):
            pipeline.xadd(stream, {"payload": str(number)}, id=f"{number}-0")
        await pipeline.execute()
    group = make_group()

    async def back(newest: bytes | None, oldest_ms: int | None, limit: int) -> list[int]:
        return [int(fields[1]) async for _, fields in group.backwards(newest, oldest_ms, limit)]

    assert await back(None, None, 10_000) == list(range(total, 0, -1))
    assert await back(b"1500-0", None, 10_000) == list(range(1500, 0, -1))
    assert await back(None, 700, 10_000) == list(range(total, 699, -1))
    assert await back(None, -5, 10_000) == list(range(total, 0, -1))
    assert await back(None, None, PAGE + 7) == list(range(total, total - PAGE - 7, -1))
    assert await group.tail() == f"{total}-0".encode()


async def test_who_looks_up_the_newest_entry_leaves_no_work_to_the_loop(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    """It is looked up once for each full batch."""
    (newest,) = await add(connection, stream, "a")
    group, tasks = make_group(), asyncio.all_tasks()
    assert await group.tail() == newest
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


async def test_it_says_how_far_it_is_behind_and_asks_only_when_that_may_not_be_far(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    group = make_group()
    await group.open()
    for ms in (10_000, 10_500, 17_000):
        await connection.xadd(stream, {"payload": "x"}, id=f"{ms}-0")
    assert len(await group.read(1, SOON_MS)) == 1
    assert await group.behind_ms(2_000) == 7_000
    await connection.xadd(stream, {"payload": "x"}, id="18000-0")
    assert len(await group.read(1, SOON_MS)) == 1
    assert await group.behind_ms(2_000) == 6_500
    assert len(await group.read(1, SOON_MS)) == 1
    assert await group.behind_ms(2_000) == 1_000
    await connection.xadd(stream, {"payload": "x"}, id="30000-0")
    assert await group.behind_ms(2_000) == 13_000
    await connection.delete(stream)
    await group.open()
    assert await group.behind_ms(2_000) <= 0, "of a younger stream"


async def test_it_never_trims_acknowledges_or_deletes_anything(own_client: Redis, own_group: Group) -> None:
    group = own_group
    await own_client.config_resetstat()
    await group.open()
    await read(group)
    await group.open()
    await own_client.xgroup_destroy("stream", "live-one")
    await group.open()
    await group.close()
    used = {name.removeprefix("cmdstat_") for name in await own_client.info("commandstats")}
    assert used >= {"set", "xgroup|create", "xreadgroup"}
    assert used <= {
        *("set", "get", "exists", "del", "xrevrange", "xreadgroup", "xinfo|groups", "xinfo|consumers"),
        *("xgroup|create", "xgroup|setid", "xgroup|destroy", "config|resetstat", "info", "client|setinfo"),
    }


async def test_a_destroyed_group_comes_back_after_the_last_entry_read_and_not_at_the_tail(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    group = make_group()
    await group.open()
    await add(connection, stream, "a")
    assert await read(group) == ["a"]
    await connection.xgroup_destroy(stream, f"{stream}:live-one")
    await add(connection, stream, "b", "c")
    with pytest.raises(ResponseError, match="NOGROUP"):
        await read(group)
    await group.open()
    assert await read(group) == ["b", "c"]


async def test_a_group_destroyed_before_anything_was_read_comes_back_where_it_began(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    await add(connection, stream, "before")
    group = make_group()
    await group.open()
    await connection.xgroup_destroy(stream, f"{stream}:live-one")
    await add(connection, stream, "a")
    await group.open()
    assert await read(group) == ["a"]


async def test_a_deleted_stream_that_grows_again_is_read_on(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    group = make_group()
    await group.open()
    await connection.xadd(stream, {"payload": "a"}, id="1000-0")
    assert await read(group) == ["a"]
    await connection.delete(stream)
    with pytest.raises(ResponseError, match="NOGROUP"):
        await read(group)
    await connection.xadd(stream, {"payload": "b"}, id="2000-0")
    await group.open()
    assert await read(group) == ["b"]


async def test_a_younger_stream_is_read_from_its_beginning(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    """Its ids may begin below those of the old one, after a restart without data on a machine with another clock."""
    group = make_group()
    await group.open()
    await connection.xadd(stream, {"payload": "a"}, id="10000-0")
    assert await read(group) == ["a"]
    await connection.delete(stream)
    for number, name in enumerate(["b", "c"]):
        await connection.xadd(stream, {"payload": name}, id=f"9000-{number}")
    await group.open()
    assert await read(group) == ["b", "c"]
    assert group.last == b"9000-1"


async def test_a_flushed_database_heals(own_client: Redis, own_group: Group) -> None:
    group = own_group
    await group.open()
    await add(own_client, "stream", "a")
    assert await read(group) == ["a"]
    await own_client.flushall()
    with pytest.raises(ResponseError, match="NOGROUP"):
        await read(group)
    await group.open()
    await add(own_client, "stream", "b")
    assert await read(group) == ["b"]
    assert await own_client.exists("live-one:alive")


class LossyRedis(Redis):
    """A client whose connection breaks under the next answer to a read."""

    breaks = True

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if args[0] == "XREADGROUP" and self.breaks:
            self.breaks = False
            raise RedisConnectionError("the answer is lost")
        return answer


async def test_what_was_on_its_way_when_the_connection_broke_is_read_again(
    redis_url: str, connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    async with LossyRedis.from_url(redis_url, protocol=2) as lossy:
        group = make_group(redis=lossy)
        await group.open()
        await add(connection, stream, *"abc")
        with pytest.raises(RedisConnectionError):
            await read(group)
        assert await read(group) == [], "for Redis they are delivered"
        await group.open()
        assert await read(group) == list("abc")


async def test_what_was_lost_is_read_again_also_from_a_server_without_memory_which_makes_no_groups(
    own_redis: OwnRedis, own_client: Redis, liveness: Check
) -> None:
    async with LossyRedis.from_url(own_redis.url, protocol=2) as lossy:
        group = Group(lossy, "stream", "live", "one", liveness)
        await group.open()
        await add(own_client, "stream", "a")
        with pytest.raises(RedisConnectionError):
            await read(group)
        await own_client.config_set("maxmemory", 1)
        await group.open()
        assert liveness.problem is not None
        assert await read(group) == ["a"]
