"""The dead are reaped, and nobody else, whoever starts, dies or comes back at the same moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import time_ns
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from processor_live_redis import group as group_module
from processor_live_redis.group import Group, InstanceTakenError
from tests.redis.groups import MakeGroup, add, groups, read
from tests.redis.rally import FAILING, GOOD, Rally, rally_on, record
from tests.running import Diary, running, until

INSTANCES = 20
DEAD = 20
SOON_DEAD_MS = 1_000
"""What is left of the liveness key of who has died only just."""


class Interrupted(Redis):
    """A client with which something happens before or after a command."""

    before: dict[str, Callable[[], Awaitable[object]]]
    after: dict[str, Callable[[], Awaitable[object]]]

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        if happens := self.before.pop(args[0], None):
            await happens()
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if happens := self.after.pop(args[0], None):
            await happens()
        return answer


@pytest.fixture
async def interrupted(redis_url: str) -> AsyncIterator[Interrupted]:
    """A reaper's client."""
    async with Interrupted.from_url(redis_url, protocol=2) as client:
        reaper = cast("Interrupted", client)
        reaper.before, reaper.after = {}, {}
        yield reaper


@pytest.fixture
async def back(redis_url: str, connection: Redis, stream: str, make_group: MakeGroup) -> AsyncIterator[Group]:
    """The group of one who comes back with the name of a dead one, which is still there."""
    await connection.xgroup_create(stream, f"{stream}:live-one", "$", mkstream=True)
    async with Redis.from_url(redis_url, protocol=2) as client:
        yield make_group("one", client)


async def test_a_group_that_another_has_just_reaped_does_not_keep_the_other_dead_from_being_reaped(
    connection: Redis, stream: str, make_group: MakeGroup, interrupted: Interrupted
) -> None:
    for name in ("a", "b", "c"):
        await connection.xgroup_create(stream, f"{stream}:live-{name}", "$", mkstream=True)
    interrupted.after["XINFO GROUPS"] = lambda: connection.xgroup_destroy(stream, f"{stream}:live-a")
    await make_group("new", interrupted).open()
    assert set(await groups(connection, stream)) == {"live-new"}


async def test_who_comes_back_with_the_name_of_the_dead_while_it_is_looked_at_keeps_its_group(
    connection: Redis, stream: str, make_group: MakeGroup, interrupted: Interrupted, back: Group
) -> None:
    interrupted.after["XINFO CONSUMERS"] = back.open
    await make_group("new", interrupted).open()
    await add(connection, stream, "a")
    assert await read(back) == ["a"]


async def test_who_comes_back_with_the_name_of_the_dead_while_it_is_reaped_comes_a_moment_later(
    connection: Redis, stream: str, make_group: MakeGroup, interrupted: Interrupted, back: Group
) -> None:
    async def come() -> None:
        with pytest.raises(InstanceTakenError):
            await back.open()

    interrupted.before["XGROUP DESTROY"] = come
    await make_group("new", interrupted).open()
    assert set(await groups(connection, stream)) == {"live-new"}
    await back.open()
    await add(connection, stream, "a")
    assert await read(back) == ["a"]


async def test_who_reads_a_long_tail_before_anything_else_lives(
    connection: Redis, stream: str, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its start an instance goes back through 100,000 entries, on a slow line or a busy machine for a while."""
    monkeypatch.setattr(group_module, "LIVENESS_REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(group_module, "PAGE", 1)
    await add(connection, stream, *"abc")
    starting = make_group("starting")
    await starting.open()
    tail = starting.backwards(None, None, 3)
    await anext(tail)
    await connection.delete(f"{stream}:live-starting:alive")  # as its time to live does
    await anext(tail)
    await make_group("new").open()
    assert set(await groups(connection, stream)) == {"live-starting", "live-new"}


async def test_after_a_jump_of_the_clock_which_ends_all_keys_at_once_the_living_leave_each_other_in_peace(
    connection: Redis, stream: str, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "LIVENESS_REFRESH_SECONDS", 0.0)
    one, other = make_group("one"), make_group("other")
    await one.open()
    await other.open()
    await connection.delete(*(f"{stream}:live-{name}:alive" for name in ("one", "other")))
    await read(one)
    assert set(await groups(connection, stream)) == {"live-one", "live-other"}
    await connection.delete(f"{stream}:live-other:alive")
    await read(one)
    assert set(await groups(connection, stream)) == {"live-one"}, "it had its time to renew the key"


@asynccontextmanager
async def flowing(rally: Rally) -> AsyncIterator[list[str]]:
    """Let a new device report every few milliseconds, so that of none anything may be left out; say which."""
    devices: list[str] = []

    async def flow() -> None:
        while True:
            devices.append(str(len(devices)))
            await rally.redis.xadd(rally.stream, {"payload": record(devices[-1], time_ns() // 1_000_000)})
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        flow_ = group.create_task(flow())
        yield devices
        flow_.cancel()


async def test_twenty_who_start_at_once_reap_the_dead_and_leave_each_other_in_peace(
    redis_url: str, connection: Redis, stream: str, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "LIVENESS_REFRESH_SECONDS", 0.2)
    for number in range(DEAD):
        name = f"{stream}:live-dead-{number}"
        await connection.xgroup_create(stream, name, "$", mkstream=True)
        if number % 2:
            await connection.set(f"{name}:alive", "x", px=SOON_DEAD_MS)
    rallies = [rally_on(redis_url, stream, connection, INSTANCE_ID=str(number)) for number in range(INSTANCES)]
    async with flowing(rallies[0]) as devices, AsyncExitStack() as stack:
        await asyncio.gather(*[stack.enter_async_context(running(rally.app)) for rally in rallies])
        await until(lambda: diary.count(GOOD) >= INSTANCES)
        await until(lambda: diary.count("group.reaped") >= DEAD)
        later = len(devices) + 20
        await until(lambda: all(len(rally.published) >= later for rally in rallies))
        names = {f"live-{number}" for number in range(INSTANCES)}
        assert set(await groups(connection, stream)) == names
    assert diary.count("group.created") == INSTANCES
    assert diary.count("group.reaped") == DEAD
    assert diary.count(FAILING) == 0
    for rally in rallies:
        shown = [int(device) for device, _ in rally.published]
        assert sorted(shown) == list(range(len(shown))), "every record, and each once"
