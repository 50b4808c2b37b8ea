"""Who follows which topic, and how does a position reach them all?

`publish` puts a position into the latest table and, as one message per topic, onto the pending messages of every topic
that has members. `run` flushes: the pending messages of a topic are framed and joined once, and written once per
member. The first
position after a quiet moment goes at once; a flush that takes long stretches the interval by itself.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

from aiohttp import web

from processor_live import metrics
from processor_live.backlog import Newest
from processor_live.batch import Batch
from processor_live.connection import Connection
from processor_live.deflate import DeflateStream
from processor_live.framing import position_entry, position_message, position_prefix
from processor_live.position import LatestTable, News, Position, Row, freshest

Route = Callable[[str], Collection[str]]

MEMBERS_PER_TURN = 256
"""Writes of one flush before the loop may do something else: a write costs 4-14 us (docs/performance.md)."""
MESSAGES_PER_BATCH = 1_000
"""Encoded at a time: 6 ms of work when they are compressed, each about as much as a write."""
DEVICES_PER_TURN = 1_000
"""Devices looked at by `reroute` before the loop may do something else."""
MAX_ORPHANS = 100_000
"""Devices in no topic whose latest position is known, in case they get one: 50 MB, if somebody invents as many."""

_count_newest = metrics.POSITIONS.labels(News.NEWEST.value).inc


class Topic:
    """A topic with members: what they have been shown, and what is about to be."""

    __slots__ = ("members", "name", "newest", "pending", "prefix", "shown", "stream")

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = position_prefix(name)
        self.members: dict[Connection, int] = {}
        """Each with the number of the last message before it joined: those up to it are in its snapshot (G1)."""
        self.shown: dict[str, int] = {}
        """The `ts` below and at which a device is no news here (G2)."""
        self.newest = Newest()
        self.pending: list[bytes] = []
        """The last messages added, not yet sent."""
        self.stream = DeflateStream()

    def add(self, position: Position, entry: bytes) -> None:
        """Queue a position for the next flush, unless its device has been shown as new or newer."""
        device_id = position.device_id
        if position.ts > self.shown.get(device_id, -1):
            self.shown[device_id] = position.ts
            message = position_message(self.prefix, entry)
            self.newest.add(device_id, message)
            self.pending.append(message)

    def raise_floor(self, device_id: str, ts: int | None) -> None:
        """Let nothing of a device at or below `ts` (epoch milliseconds) be news here any more."""
        if ts is not None and ts > self.shown.get(device_id, -1):
            self.shown[device_id] = ts

    def flush(self) -> Iterator[int]:
        """Write what is pending to every member; after each step yield what it was worth, in writes.

        To be run once at a time, or the order per client would break.
        """
        pending, self.pending = self.pending, []
        after = self.newest.published - len(pending)
        for start in range(0, len(pending), MESSAGES_PER_BATCH):
            messages = pending[start : start + MESSAGES_PER_BATCH]
            batch = Batch(self.name, messages, after=after + start, newest=self.newest, stream=self.stream)
            yield from self._send(batch)
            yield len(batch)  # to encode them

    def _send(self, batch: Batch) -> Iterator[int]:
        """Write a batch to every member."""
        written = 0
        for connection in list(self.members):
            seen = self.members.get(connection, batch.last)  # it may have left, or left and joined again
            if seen <= batch.after:
                written += connection.deliver(batch)
            elif seen < batch.last:
                written += connection.deliver(batch.tail(seen))
            yield 1
        metrics.DELIVERIES.inc(written)


class Hub:
    """All topics, their members in both directions, and the latest position of every device."""

    def __init__(self, route: Route, flush_interval_s: float) -> None:
        self.latest = LatestTable()
        self.news = 0
        """Newest positions ever published."""
        self.orphans = 0
        """Those of them whose device was in no topic."""
        self._orphaned: dict[str, None] = {}
        """Devices that were in no topic, the one found out first at the beginning."""
        self._route = route
        self._topics: dict[str, Topic] = {}
        self._seen: dict[str, set[str]] = {}
        """The devices of each topic that the stream has shown, so that a subscribe need not look at all there are."""
        self._dirty: dict[Topic, None] = {}
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        """Set, and replaced, when what is pending now has been written."""
        self._flush_interval_s = flush_interval_s
        self._not_before = 0.0
        """When the next flush may begin (loop time)."""

    def publish(self, position: Position) -> None:
        """Take a position from a stream: show it to the members of its device's topics, if it is news."""
        news = self.latest.offer(position)
        if news is not News.NEWEST:
            metrics.POSITIONS.labels(news.value).inc()
            return
        _count_newest()
        self.news += 1
        names = self._route(position.device_id)
        if not names:
            self.orphans += 1
            metrics.ORPHANS.inc()
            self._remember_orphan(position.device_id)
            return
        entry = b""
        for name in names:
            self._note(name, position.device_id)
            topic = self._topics.get(name)
            if topic is not None:
                entry = entry or position_entry(position)
                self._add(topic, position, entry)

    def _remember_orphan(self, device_id: str) -> None:
        """Keep the latest positions of only so many: what is in no event may be anything, however much of it."""
        self._orphaned[device_id] = None
        if len(self._orphaned) > MAX_ORPHANS:
            oldest = next(iter(self._orphaned))
            del self._orphaned[oldest]
            if not self._route(oldest):  # it may have got a topic since
                self.latest.forget(oldest)
                metrics.FORGOTTEN.inc()

    def _note(self, name: str, device_id: str) -> None:
        seen = self._seen.get(name)
        if seen is None:
            seen = self._seen[name] = set()
        seen.add(device_id)

    def _add(self, topic: Topic, position: Position, entry: bytes) -> None:
        topic.add(position, entry)
        if topic.pending and topic not in self._dirty:
            self._dirty[topic] = None
            self._wake.set()

    async def reroute(self) -> None:
        """Show the latest position of devices that a topic got since it was last asked: call it when routes change."""
        for turn, position in enumerate(list(self.latest)):
            if turn % DEVICES_PER_TURN == 0:
                await asyncio.sleep(0)
            for name in self._route(position.device_id):
                self._note(name, position.device_id)
                topic = self._topics.get(name)
                if topic is not None:
                    self._add(topic, position, position_entry(position))

    def join(self, connection: Connection, name: str, rows: Iterable[Row]) -> list[bytes]:
        """Make `connection` a member and return its snapshot: the position entries of the topic's devices.

        `rows` are the durable store's, of the devices registered to the topic; devices that only the stream has shown
        are added. Snapshot and membership begin at the same instant, so what the snapshot lacks will be streamed (G3)
        and what it has will not (G2): there is no `await` in here, and the caller answers before its next one.
        """
        self.leave(connection, name)
        topic = self._topics.get(name) or Topic(name)
        stored = {row.device_id: row for row in rows}
        unstored = (
            Row(device_id, None, None)
            for device_id in self._seen.get(name, ())
            if device_id not in stored and name in self._route(device_id)  # it may have left since
        )
        entries = []
        for row in (*stored.values(), *unstored):
            position = freshest(row, self.latest.get(row.device_id))
            if position is not None:
                entries.append(self._show(topic, position))
            topic.raise_floor(row.device_id, row.newest_ts)
        if not topic.members:
            self._topics[name] = topic
            metrics.TOPICS.inc()
        topic.members[connection] = topic.newest.published
        connection.topics.add(name)
        metrics.SUBSCRIPTIONS.inc()
        return entries

    def _show(self, topic: Topic, position: Position) -> bytes:
        """Return the entry of a snapshot's position; if it is news to others, they get it like a record (G3)."""
        known = self.latest.get(position.device_id)
        if known is None or position.ts > known.ts:
            self.publish(position)
        entry = position_entry(position)
        if topic.members:
            self._add(topic, position, entry)
        topic.raise_floor(position.device_id, position.ts)
        return entry

    def leave(self, connection: Connection, name: str) -> bool:
        """End a membership: no position of the topic follows. Return whether there was one."""
        topic = self._topics.get(name)
        if topic is None or topic.members.pop(connection, None) is None:
            return False
        connection.topics.discard(name)
        connection.forget(name)
        metrics.SUBSCRIPTIONS.dec()
        if not topic.members:
            del self._topics[name]
            self._dirty.pop(topic, None)
            metrics.TOPICS.dec()
        return True

    async def flush(self) -> None:
        """Write everything that is pending."""
        dirty, self._dirty = self._dirty, {}
        done = 0
        for writes in chain.from_iterable(topic.flush() for topic in dirty):
            done += writes
            if done >= MEMBERS_PER_TURN:
                done = 0
                await asyncio.sleep(0)

    async def run(self) -> None:
        """Flush whenever something is pending, for ever; at most once per interval."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            if (wait := self._not_before - loop.time()) > 0:
                await asyncio.sleep(wait)
            self._wake.clear()
            written, self._written = self._written, asyncio.Event()
            started = loop.time()
            await self.flush()
            took = loop.time() - started
            interval = max(self._flush_interval_s, 2 * took)
            self._not_before = started + interval
            written.set()
            metrics.FLUSH_SECONDS.observe(took)
            metrics.FLUSH_INTERVAL.set(interval)

    async def rest(self) -> None:
        """Wait until what is pending has been written and the next flush may begin.

        A source that reads only then has what it reads written at once: two intervals, its own and the hub's, would
        make positions wait for both.
        """
        if self._dirty:
            await self._written.wait()
        if (wait := self._not_before - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(wait)


HUB: web.AppKey[Hub] = web.AppKey("hub", Hub)
"""Where a plugin publishes positions."""
