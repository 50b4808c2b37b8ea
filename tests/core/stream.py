"""What stands in for Redis: the telemetry stream with its consumer groups, and keys, without a network."""

import asyncio
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from processor_live_redis.group import BEGINNING, Entry
from processor_live_redis.record import entry_ms
from tests.redis.rally import record


class Group:
    """A consumer group: how far its consumer has read, and whether it waits for more."""

    def __init__(self, given: int) -> None:
        self.given = given
        """Entries handed out: gone for the group, also when the connection died under the answer."""
        self.used = asyncio.get_running_loop().time()
        self.consumer: bytes | None = None
        """Who has read from it."""
        self.serves_the_dead = False
        """Whether the next entries go to a read whose end the server has not noticed."""
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for an entry, or raise what comes instead."""
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def raise_what_came(self) -> None:
        """Raise the error that came in the very moment in which the wait was over, if one did."""
        if self._waiting is not None and not self._waiting.cancelled():
            self._waiting.result()

    @property
    def waits(self) -> bool:
        """Whether somebody waits for an entry."""
        return self._waiting is not None and not self._waiting.done()

    def wake(self, error: Exception | None = None) -> None:
        """End the wait, if there is one."""
        if self._waiting is None or self._waiting.done():
            return
        if error is None:
            self._waiting.set_result(None)
        else:
            self._waiting.set_exception(error)


class Stream:
    """A Redis that holds the telemetry stream; as its client it knows what `processor_live_redis.group` asks."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.reports: list[tuple[str, int]] = []
        """Device and `ts` of each entry."""
        self.is_down = False
        self.dying = 0
        """Under which of the next commands or answers the connection dies, 0 for none."""
        self.connection_pool = self
        self._is_full = False
        self._groups: dict[str, Group] = {}
        self._keys: dict[str, tuple[bytes, float]] = {}
        """Each value, and until when it is there."""

    @property
    def tail(self) -> bytes:
        """The id of the last entry."""
        return self.entries[-1][0] if self.entries else BEGINNING

    def newest(self, last: bytes, since_ms: float) -> dict[str, int]:
        """Return the newest `ts` of each device in the entries up to `last`, those before some time left out."""
        place = self._place(last)
        newest: dict[str, int] = {}
        for (entry_id, _), (device, ts) in zip(self.entries[:place], self.reports[:place], strict=True):
            if entry_ms(entry_id) >= since_ms:
                newest[device] = max(ts, newest.get(device, 0))
        return newest

    # What can happen.

    def add(self, device: str, ts: int) -> None:
        """Take a record."""
        entry_id = b"%d-%d" % (asyncio.get_running_loop().time() * 1000, len(self.entries))
        self.entries.append((entry_id, [b"payload", record(device, ts).encode()]))
        self.reports.append((device, ts))
        for group in self._groups.values():
            if group.serves_the_dead:
                group.given, group.serves_the_dead = len(self.entries), False
            group.wake()

    def lose_connections(self) -> None:
        """Let whoever waits for an entry lose its connection, and the server not notice."""
        for group in self._groups.values():
            group.serves_the_dead = group.waits and not self._is_full
            group.wake(RedisConnectionError("lost"))

    def lose_groups(self) -> None:
        """Let somebody destroy all groups."""
        for name in [*self._groups]:
            self._destroy(name)

    def fill(self, is_full: bool) -> None:  # noqa: FBT001 - a state
        """Let there be no memory for anything new, or let there be some; a full server notices who has gone."""
        self._is_full = is_full
        for group in self._groups.values():
            group.serves_the_dead = False

    def _destroy(self, name: str) -> None:
        if group := self._groups.pop(name, None):
            group.wake(ResponseError("NOGROUP"))

    # What it is asked.

    def set_response_callback(self, *_: object) -> None:
        """Answers are here as the callbacks would have them."""

    async def disconnect(self) -> None:
        await self._ask()

    async def xreadgroup(
        self, name: str, consumer: str, streams: object, *, count: int, block: int | None, noack: bool
    ) -> list[Entry]:
        assert noack, f"nothing of {streams} stays pending"
        await self._ask()
        group = self._group(name)
        group.used, group.consumer = asyncio.get_running_loop().time(), consumer.encode()
        if group.given == len(self.entries):
            if block is None:
                return []
            try:
                async with asyncio.timeout(block / 1000):
                    await group.wait()
            except TimeoutError:
                group.raise_what_came()
                return []
        entries = self.entries[group.given : group.given + count]
        group.given += len(entries)
        await self._ask()
        return entries

    async def xrevrange(self, _: str, top: bytes, bottom: bytes, *, count: int) -> list[Entry]:
        await self._ask()
        end = len(self.entries)
        if top != b"+":
            end = self._place(top.removeprefix(b"(")) - top.startswith(b"(")
        oldest = (0, 0) if bottom == b"-" else _order(bottom)
        return [entry for entry in reversed(self.entries[:end]) if _order(entry[0]) >= oldest][:count]

    async def xgroup_create(self, _: str, name: str, start: bytes, *, mkstream: bool) -> None:
        assert mkstream, "there may be no record yet"
        await self._write()
        if name in self._groups:
            raise ResponseError("BUSYGROUP")
        self._groups[name] = Group(self._place(start))

    async def xgroup_setid(self, _: str, name: str, start: bytes) -> None:
        await self._ask()
        self._group(name).given = self._place(start)

    async def xgroup_destroy(self, _: str, name: str) -> None:
        await self._ask()
        self._destroy(name)

    async def xinfo_groups(self, _: str) -> list[dict[str, bytes]]:
        await self._ask()
        return [{"name": name.encode()} for name in self._groups]

    async def xinfo_consumers(self, _: str, name: str) -> list[dict[str, Any]]:
        await self._ask()
        group = self._group(name)
        if group.consumer is None:
            return []
        idle_ms = (asyncio.get_running_loop().time() - group.used) * 1000
        return [{"name": group.consumer, "pending": 0, "idle": idle_ms}]

    async def get(self, key: str) -> bytes | None:
        await self._ask()
        value, until = self._keys.get(key, (None, 0.0))
        return value if until > asyncio.get_running_loop().time() else None

    async def exists(self, key: str) -> bool:
        return await self.get(key) is not None

    async def set(self, key: str, value: bytes, *, ex: int, nx: bool = False) -> None:
        await self._write()
        if not nx or not await self.exists(key):
            self._keys[key] = value, asyncio.get_running_loop().time() + ex

    async def _ask(self) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise RedisConnectionError("down")
        died, self.dying = self.dying == 1, max(self.dying - 1, 0)
        if died:
            raise RedisConnectionError("dead")

    async def _write(self) -> None:
        await self._ask()
        if self._is_full:
            raise ResponseError("OOM")

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            raise ResponseError("NOGROUP")
        return self._groups[name]

    def _place(self, entry_id: bytes) -> int:
        """Return how many entries there are up to this one."""
        return sum(_order(each) <= _order(entry_id) for each, _ in self.entries)


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number or 0)
