"""What stands in for Redis: a stream, and the consumer group of one instance on it, without a network."""

import asyncio
from collections.abc import AsyncIterator

from redis.exceptions import ConnectionError as RedisConnectionError

from processor_live_redis.group import BEGINNING, Entry
from processor_live_redis.record import entry_ms
from tests.redis.rally import record


class Stream:
    """The telemetry stream."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.reports: list[tuple[str, int]] = []
        """Device and `ts` of each entry."""
        self.is_down = False
        self.news = asyncio.Event()

    def add(self, device: str, ts: int) -> None:
        """Take a record."""
        entry_id = b"%d-%d" % (asyncio.get_running_loop().time() * 1000, len(self.entries))
        self.entries.append((entry_id, [b"payload", record(device, ts).encode()]))
        self.reports.append((device, ts))
        self.news.set()

    @property
    def tail(self) -> bytes:
        """The id of the last entry."""
        return self.entries[-1][0] if self.entries else BEGINNING


class Reader:
    """Reads a stream as `processor_live_redis.group.Group` does."""

    def __init__(self, stream: Stream) -> None:
        self.last: bytes | None = None
        self._stream = stream
        self._given = 0
        """Entries handed out: gone for the group, also when the connection died under the answer."""
        self.cut = False
        """Whether it dies under the next answer."""

    @property
    def up_to_date(self) -> bool:
        """Whether it has read everything."""
        return self.last == self._stream.tail

    async def open(self) -> None:
        await self._ask()
        if self.last is None:
            self.last = self._stream.tail
        ids = [BEGINNING, *(entry_id for entry_id, _ in self._stream.entries)]
        self._given = ids.index(self.last)

    async def tail(self) -> bytes:
        await self._ask()
        return self._stream.tail

    async def backwards(self, newest: bytes, oldest_ms: int, limit: int, _: int) -> AsyncIterator[Entry]:
        await self._ask()
        ids = [entry_id for entry_id, _ in self._stream.entries]
        for entry in reversed(self._stream.entries[: ids.index(newest) + 1] if newest in ids else []):
            if entry_ms(entry[0]) < oldest_ms or limit == 0:
                return
            limit -= 1
            yield entry

    async def read(self, count: int, block_ms: int | None) -> list[Entry]:
        await self._ask()
        if self._given == len(self._stream.entries):
            if block_ms is None:
                return []
            self._stream.news.clear()
            try:
                async with asyncio.timeout(block_ms / 1000):
                    await self._stream.news.wait()
            except TimeoutError:
                return []
        entries = self._stream.entries[self._given : self._given + count]
        self._given += len(entries)
        await self._ask()
        if self.cut:
            self.cut = False
            raise RedisConnectionError("cut")
        self.last = entries[-1][0]
        return entries

    async def behind_ms(self, _: int) -> int:
        return entry_ms(await self.tail()) - entry_ms(self.last or BEGINNING)

    async def _ask(self) -> None:
        await asyncio.sleep(0)
        if self._stream.is_down:
            raise RedisConnectionError("down")
