"""Instances never get in each other's way, nor in anybody else's, and leave no trace when they go."""

import asyncio

import pytest
from redis.asyncio import Redis

from processor_live import Check
from processor_live_redis import group as group_module
from processor_live_redis.group import LIVENESS_TTL_SECONDS, Group, InstanceTakenError
from tests.redis.groups import MakeGroup, add, groups, read
from tests.running import EVENTUALLY_SECONDS


async def idle_for(ms: int, redis: Redis, stream: str, group: str) -> None:
    """Return when nobody has read from a group for longer than that."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while (await redis.xinfo_consumers(stream, f"{stream}:{group}"))[0]["idle"] <= ms:  # noqa: ASYNC110 - time passes
            await asyncio.sleep(0.1)


async def test_closing_leaves_nothing_of_the_instance_and_everything_of_others(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    await connection.xgroup_create(stream, "processor", "$", mkstream=True)
    group, other = make_group("one"), make_group("two")
    await group.open()
    await other.open()
    await add(connection, stream, "a")
    await read(group)
    await group.close()
    assert set(await groups(connection, stream)) == {"processor", "live-two"}
    assert sorted(await connection.keys(f"{stream}*")) == [stream.encode(), f"{stream}:live-two:alive".encode()]
    assert await connection.xlen(stream) == 1
    await other.close()


async def test_closing_what_was_never_opened_touches_nothing(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    living = make_group()
    await living.open()
    await make_group().close()
    assert list(await groups(connection, stream)) == ["live-one"]
    assert await connection.exists(f"{stream}:live-one:alive")


async def test_closing_without_a_stream_removes_the_liveness_key(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    group = make_group()
    await group.open()
    await connection.delete(stream)
    await group.close()
    assert await connection.keys(f"{stream}*") == []


async def test_the_liveness_key_lives_no_longer_than_its_instance_and_is_renewed_by_reading(
    connection: Redis, stream: str, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "LIVENESS_REFRESH_SECONDS", 0.0)
    key = f"{stream}:live-one:alive"
    group = make_group()
    await group.open()
    assert 0 < await connection.ttl(key) <= LIVENESS_TTL_SECONDS
    await connection.expire(key, 1)
    await group.read(1, 1)
    assert await connection.ttl(key) > 1


async def test_a_liveness_key_that_cannot_be_written_does_not_stop_the_reading(
    own_client: Redis, own_group: Group, monkeypatch: pytest.MonkeyPatch, liveness: Check
) -> None:
    """A full Redis refuses writes, but hands out what it has; the group stays, through a lost connection, too."""
    monkeypatch.setattr(group_module, "LIVENESS_REFRESH_SECONDS", 0.0)
    await own_group.open()
    await add(own_client, "stream", "a", "b")
    await own_client.config_set("maxmemory", "1")
    assert await read(own_group, 1) == ["a"]
    assert str(liveness.problem).startswith("OutOfMemoryError")
    await own_group.open()
    assert await read(own_group) == ["b"]
    await own_client.config_set("maxmemory", "0")
    assert await read(own_group) == []
    assert liveness.problem is None


async def test_the_dead_are_reaped_and_the_living_and_foreigners_never(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    living = make_group("living")
    await living.open()
    for name in ("processor", f"{stream}:live", f"{stream}:liver-1", f"{stream}:live-dead", f"{stream}:live-"):
        await connection.xgroup_create(stream, name, "$")
    await make_group("new").open()
    assert set(await groups(connection, stream)) == {"processor", "live", "liver-1", "live-living", "live-new"}


async def test_a_group_that_begins_as_ours_but_is_not_read_as_ours_is_never_reaped(
    connection: Redis, stream: str, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it would go what is pending there, and where its reader stands."""
    monkeypatch.setattr(group_module, "LIVENESS_TTL_SECONDS", 1)
    await add(connection, stream, *"abc")
    for name, consumer, noack in (
        ("dead", "dead", True),
        ("pending", "pending", False),
        ("archive", "writer", False),
        ("copy", "copier", True),
    ):
        group = f"{stream}:live-{name}"
        await connection.xgroup_create(stream, group, "0")
        await connection.xreadgroup(group, consumer, {stream: ">"}, noack=noack)
    await idle_for(1_000, connection, stream, "live-copy")
    await make_group("new").open()
    assert set(await groups(connection, stream)) == {"live-pending", "live-archive", "live-copy", "live-new"}


async def test_who_has_lost_its_key_lives_for_as_long_as_it_reads(
    connection: Redis, stream: str, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full Redis may refuse or evict the keys of the living."""
    monkeypatch.setattr(group_module, "LIVENESS_TTL_SECONDS", 1)
    reader = make_group("reader")
    await reader.open()
    await add(connection, stream, "a")
    assert await read(reader) == ["a"]
    await connection.delete(f"{stream}:live-reader:alive")
    await make_group("new").open()
    assert set(await groups(connection, stream)) == {"live-reader", "live-new"}
    await idle_for(1_000, connection, stream, "live-reader")
    await make_group("newer").open()
    assert "live-reader" not in await groups(connection, stream)


async def test_an_instance_finds_a_group_of_its_own_from_a_life_that_ended_badly_and_begins_anew(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    await connection.xgroup_create(stream, f"{stream}:live-one", "$", mkstream=True)
    await add(connection, stream, "while it was dead")
    group = make_group()
    await group.open()
    assert await read(group) == []
    await add(connection, stream, "a")
    assert await read(group) == ["a"]


async def test_a_second_process_with_the_same_instance_id_is_refused_until_the_first_is_gone(
    connection: Redis, stream: str, make_group: MakeGroup
) -> None:
    first, second = make_group(), make_group()
    await first.open()
    with pytest.raises(InstanceTakenError, match="INSTANCE_ID 'one'"):
        await second.open()
    await add(connection, stream, *"abc")
    assert await read(first) == list("abc")
    await second.close()
    assert await read(first) == []
    await first.close()
    await second.open()
    await add(connection, stream, "d")
    assert await read(second) == ["d"]


async def test_of_two_processes_with_one_instance_id_the_one_that_was_frozen_gives_way(
    connection: Redis, stream: str, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "LIVENESS_REFRESH_SECONDS", 0.0)
    frozen, successor = make_group(), make_group()
    await frozen.open()
    await connection.delete(f"{stream}:live-one:alive")  # as its time to live does
    await successor.open()
    await add(connection, stream, *"abc")
    with pytest.raises(InstanceTakenError):
        await read(frozen)
    with pytest.raises(InstanceTakenError):
        await frozen.open()
    await frozen.close()
    assert await read(successor) == list("abc")
