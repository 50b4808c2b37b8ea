"""How does this instance read the stream without leaving a trace in anybody's way?

One consumer group per instance, read with NOACK (nothing stays pending), destroyed on a clean stop. A liveness key with
a TTL tells the groups of living instances from those that the dead have left behind.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from processor_live import Check, one_line
from processor_live_redis.portion import Portion
from processor_live_redis.record import entry_ms

log = logging.getLogger(__name__)

Entry = tuple[bytes, Sequence[bytes]]
"""A stream entry: its id, and its fields, names and values by turns, as they come off the wire.

Left as it is: a tuple and a dictionary for each would cost a tenth of all that is done for a record.
"""

BEGINNING = b"0-0"
LIVENESS_TTL_SECONDS = 15
LIVENESS_REFRESH_SECONDS = 5
PAGE = 1_000
"""Entries read at once while going back through the stream, if they come in time."""


class InstanceTakenError(Exception):
    """Another living process has this INSTANCE_ID: sharing its group, each would get half of the stream."""


class Group:
    """This instance's consumer group on the telemetry stream.

    `open` it first, and again whenever `read` raised; `close` destroys it. `liveness` fails while the others cannot be
    told that this instance lives.
    """

    def __init__(self, redis: Redis, stream: str, prefix: str, instance: str, liveness: Check) -> None:
        self._redis = redis
        self._redis.set_response_callback("XREADGROUP", _entries_of_one_stream)
        self._redis.set_response_callback("XREVRANGE", _entries)
        self._stream = stream
        self._prefix = f"{prefix}-"
        self._instance = instance
        self.name = self._prefix + instance
        """In Redis."""
        self._token = secrets.token_hex(8).encode()
        self._liveness = liveness
        self._alive_until_refresh = 0.0
        self._portion = Portion()
        self.last: bytes | None = None
        """The id of the last entry read; None before the first `open`."""
        self._newest = BEGINNING
        """The id of the stream's newest entry when it was last looked up."""

    async def open(self) -> None:
        """Make the group stand after the last entry read; at the first time, at the stream's tail.

        Raises `redis.RedisError`, `OSError`, or `InstanceTakenError`.
        """
        # a new connection: the address may lead elsewhere by now, to who took over from a server that became a replica
        await self._redis.connection_pool.disconnect()
        writable = await self._claim()
        tail = await self.tail()
        after = tail if self.last is None else self.last
        # a stream that ends before what we read is a younger one, or has lost its end in a failover: from its beginning
        await self._place(after if _order(tail) >= _order(after) else BEGINNING, anew=writable)
        self.last, self._newest = after, tail

    async def _place(self, start: bytes, *, anew: bool) -> None:
        """Make the group stand after the entry `start`, whether it is there or not.

        It may be of a life that ended badly, and what NOACK has handed out is gone for the group, even when the
        connection died under the answer. A read whose end the server has not noticed would be given what comes next,
        too: with its group it is gone. But a server without memory makes no groups; there the one that it has must do.
        """
        if anew:
            with contextlib.suppress(ResponseError):  # no such stream
                await self._redis.xgroup_destroy(self._stream, self.name)
        try:
            await self._redis.xgroup_setid(self._stream, self.name, start)
        except ResponseError:  # no such group, or no such stream
            await self._redis.xgroup_create(self._stream, self.name, start, mkstream=True)
            log.info("group.created group=%s after=%s", self.name, start.decode())

    async def tail(self) -> bytes:
        """Return the id of the newest entry, `0-0` of an empty stream."""
        newest = await self._page(b"+", b"-", 1)
        return newest[0][0] if newest else BEGINNING

    async def backwards(self, newest: bytes | None, oldest_ms: int | None, limit: int) -> AsyncIterator[Entry]:
        """Go through the stream from the entry `newest` (None: the newest there is) back in time."""
        top = newest or b"+"
        bottom = b"-" if oldest_ms is None else str(max(oldest_ms, 0)).encode()
        while limit > 0:
            await self._stay_alive_if_due()  # the tail may be long and the line slow, and nothing is read meanwhile
            count = min(limit, self.at_once(PAGE))
            with self._portion.awaited():
                page = await self._page(top, bottom, count)
            for entry in page:
                yield entry
            if len(page) < count:
                return
            limit -= len(page)
            top = b"(" + page[-1][0]

    async def _page(self, top: bytes, bottom: bytes, count: int) -> list[Entry]:
        """Return the newest entries of a range, the newest first."""
        return cast("list[Entry]", await self._redis.xrevrange(self._stream, top, bottom, count=count))

    def at_once(self, entries: int) -> int:
        """Return how many of so many to ask for: fewer while the answers take too long."""
        return self._portion.of(entries)

    async def read(self, count: int, block_ms: int | None) -> list[Entry]:
        """Return the next entries, at most `count`, after at most `block_ms` (None: at once); none when nothing came.

        Raises `redis.RedisError`, `OSError` or `InstanceTakenError`: then `open` the group anew.
        """
        await self._stay_alive_if_due()
        with self._portion.awaited():
            answer = await self._redis.xreadgroup(
                self.name, self._instance, {self._stream: ">"}, count=count, block=block_ms, noack=True
            )
        entries = cast("list[Entry]", answer)
        if entries:
            self.last = entries[-1][0]
        return entries

    async def _claim(self) -> bool:
        """Make this instance's liveness key ours, before the group exists that it protects; as `_stay_alive`."""
        with contextlib.suppress(ResponseError):  # it says why in a moment, if it still cannot write
            await self._take(self.name)
        return await self._stay_alive()

    async def _stay_alive_if_due(self) -> None:
        if asyncio.get_running_loop().time() >= self._alive_until_refresh:
            await self._stay_alive()

    async def _stay_alive(self) -> bool:
        """Renew the liveness key, and look after the dead. Return whether Redis lets us write."""
        holder = await self._holder()
        if self._is_other(holder):  # also while we read: who was frozen for longer than the TTL may have a successor
            raise InstanceTakenError(
                f"another process lives, or died within {LIVENESS_TTL_SECONDS} s, with INSTANCE_ID {self._instance!r}"
            )
        self._alive_until_refresh = asyncio.get_running_loop().time() + LIVENESS_REFRESH_SECONDS
        try:
            await self._redis.set(self.name + ":alive", self._token, ex=LIVENESS_TTL_SECONDS)
        except ResponseError as error:  # out of memory, read-only: reading may still be possible, and is what counts
            self._liveness.failing(one_line(error))
            return False
        self._liveness.good()
        if holder is not None:  # or the others' keys are gone as ours was: Redis's clock may have jumped ahead
            await self._reap()
        return True

    async def _holder(self) -> bytes | None:
        """Return the token of the process that has this instance's liveness key."""
        return cast("bytes | None", await self._redis.get(self.name + ":alive"))

    def _is_other(self, holder: bytes | None) -> bool:
        return holder not in {None, self._token}

    async def _reap(self) -> None:
        """Destroy the groups of dead instances. A living one has its key before it has a group, so it is safe."""
        groups: Any = []
        with contextlib.suppress(ResponseError):  # no stream yet
            groups = await self._redis.xinfo_groups(self._stream)
        for group in groups:
            name = group["name"].decode(errors="replace")
            if name.startswith(self._prefix):
                with contextlib.suppress(ResponseError):  # another instance was quicker
                    await self._bury_if_dead(name)

    async def _bury_if_dead(self, name: str) -> None:
        """Destroy a group if its instance is dead: with the key in our hand, or it could come back to life meanwhile.

        Who comes with that name in this moment finds it taken, and tries again.
        """
        if await self._is_dead(name) and await self._take(name):
            try:
                if await self._redis.xgroup_destroy(self._stream, name):
                    log.info("group.reaped group=%s", name)
            finally:
                await self._redis.delete(name + ":alive")

    async def _take(self, name: str) -> bool:
        """Return whether a group's liveness key was nobody's and is ours now."""
        return bool(await self._redis.set(name + ":alive", self._token, nx=True, ex=LIVENESS_TTL_SECONDS))

    async def _is_dead(self, name: str) -> bool:
        """Return whether a group is ours, and nobody renews its key, nor reads from it: the living may have no keys.

        Before Redis 7.2 only reads that found something count.
        """
        if await self._redis.exists(name + ":alive"):
            return False
        instance = name.removeprefix(self._prefix).encode()
        consumers = await self._redis.xinfo_consumers(self._stream, name)
        # of a group that was never read the name must do; of others we know the only reader, who reads with NOACK
        return all(
            consumer["name"] == instance and not consumer["pending"] and consumer["idle"] > LIVENESS_TTL_SECONDS * 1000
            for consumer in consumers
        )

    async def close(self) -> None:
        """Leave nothing of this instance in Redis. Raises `redis.RedisError` or `OSError`."""
        if self.last is not None and not self._is_other(await self._holder()):
            with contextlib.suppress(ResponseError):  # no stream, so no group either
                await self._redis.xgroup_destroy(self._stream, self.name)
            await self._redis.delete(self.name + ":alive")
            log.info("group.destroyed group=%s", self.name)

    async def behind_ms(self, far_ms: int) -> int:
        """Return by how much the newest entry is younger than the last one read.

        Redis is not asked while that was more than `far_ms` when it was asked last: it can only have become more.
        """
        last_ms = entry_ms(self.last or BEGINNING)
        if entry_ms(self._newest) - last_ms <= far_ms:
            self._newest = await self.tail()
        return entry_ms(self._newest) - last_ms


def _entries(response: Any, **_: object) -> list[Entry]:  # noqa: ANN401 - as it comes off the wire (RESP2)
    return response or []


def _entries_of_one_stream(response: Any, **_: object) -> list[Entry]:  # noqa: ANN401 - same
    """Return the entries in the answer to a read of one stream."""
    if not response:
        return []
    ((_, entries),) = response
    return _entries(entries)


def _order(entry_id: bytes) -> tuple[int, int]:
    """Return what two ids are compared by: as text, `9-0` would come after `10-0`."""
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
