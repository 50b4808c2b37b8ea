"""In which events is a device? The answer of the `ROUTE` slot (docs/contract.md §6.2)."""

import asyncio
import logging

import psycopg2
from aiohttp import web
from prometheus_client import Gauge

from processor_live import ENVIRON, HEALTH, HUB, ROUTE, Health, Hub, load, one_line, run_in_background
from processor_live_postgres.database import Database, PostgresSettings

log = logging.getLogger(__name__)

DEVICES = Gauge("live_routing_devices", "Devices in at least one event")
LOADED = Gauge("live_routing_loaded_timestamp_seconds", "When the routing table in use was read")
ORPHAN_RATIO = Gauge(
    "live_orphan_ratio", "Share of newest positions since the last refresh whose device is in no event"
)

QUERY = """
SELECT DISTINCT devices.imei, 'event:' || entries.event_id::text
FROM entry_devices
JOIN devices ON devices.id = entry_devices.device_id  -- a uuid; the stream knows the device by its IMEI
JOIN entries ON entries.id = entry_devices.entry_id
WHERE length(devices.imei) BETWEEN 1 AND 64 AND entries.event_id IS NOT NULL  -- as long as a record's may be
ORDER BY 1, 2
"""
TIMEOUT_MS = 10_000
RETRY_SECONDS = 5.0
"""After a failed refresh, unless the refresh interval is shorter."""
ROWS_PER_TURN = 1_000
"""Registrations put into the table, or compared, before the loop may do something else: 100,000 at once block it for
22 ms."""
SUSPICIOUS_ORPHAN_RATIO = 0.5
"""Above it something is wrong with the registrations or with the query, and a map is missing half its devices."""
SUSPICIOUS_SAMPLE = 100
"""So many newest positions at least, or the ratio says nothing."""

Table = dict[str, tuple[str, ...]]


def setup(app: web.Application) -> None:
    """Answer in which events a device is, from a table read at start and refreshed since."""
    settings = load(PostgresSettings, app[ENVIRON])
    database = Database(settings.url, size=1, timeout_ms=TIMEOUT_MS)
    routing = Routing(database, app[HUB], app[HEALTH], settings.device_event_refresh_ms / 1000)
    app[ROUTE].fill(routing.topics)
    app.cleanup_ctx.append(database.context)
    run_in_background(app, "routing", routing.run)


class Routing:
    """The table of devices and the topics they are in, swapped whole."""

    def __init__(self, database: Database, hub: Hub, health: Health, refresh_s: float) -> None:
        self._database = database
        self._hub = hub
        self._refresh_s = refresh_s
        self._table: Table = {}
        self._loaded = health.check("routing", critical=True, problem="not read yet: nobody would see anything")
        self._refreshed = health.check("routing-refresh")
        self._plausible = health.check("orphans")
        self._counted = (0, 0)

    def topics(self, device_id: str) -> tuple[str, ...]:
        """Return the topics of a device, none for an orphan."""
        return self._table.get(device_id, ())

    async def run(self) -> None:
        """Read the table now and again, for ever; a failed reading keeps the one there is."""
        while True:
            try:
                await self.refresh()
                await asyncio.sleep(self._refresh_s)
            except (psycopg2.Error, OSError) as error:
                self._refreshed.failing(one_line(error))
                await asyncio.sleep(min(self._refresh_s, RETRY_SECONDS))

    async def refresh(self) -> None:
        """Read the table and swap it in. Raises `psycopg2.Error` or `OSError`."""
        table = await _table_of(await self._database.rows(QUERY))
        changed = await _differ(table, self._table)
        if self._loaded.problem is not None:  # until now every device was an orphan, which says nothing
            self._counted = self._hub.news, self._hub.orphans
        self._table = table
        DEVICES.set(len(table))
        LOADED.set_to_current_time()
        if table:
            self._refreshed.good()
        else:
            self._refreshed.failing("no device is registered to any event: nobody sees anything")
        self._watch_orphans()
        if changed:
            log.info("routing.changed devices=%d", len(table))
            await self._hub.reroute()
        self._loaded.good()  # not before: whoever subscribes now is shown what the stream has shown

    def _watch_orphans(self) -> None:
        """Judge the share of orphans since the last time."""
        news, orphans = self._hub.news, self._hub.orphans
        news_before, orphans_before = self._counted
        if news - news_before < SUSPICIOUS_SAMPLE:
            return
        self._counted = news, orphans
        ratio = (orphans - orphans_before) / (news - news_before)
        ORPHAN_RATIO.set(ratio)
        if ratio > SUSPICIOUS_ORPHAN_RATIO:
            self._plausible.failing(f"{ratio:.0%} of the positions are of devices in no event")
        else:
            self._plausible.good()


async def _table_of(rows: list[tuple[str, str]]) -> Table:
    table: Table = {}
    for turn, (device_id, topic) in enumerate(rows):
        if turn % ROWS_PER_TURN == 0:
            await asyncio.sleep(0)
        table[device_id] = (*table.get(device_id, ()), topic)
    return table


async def _differ(one: Table, other: Table) -> bool:
    if len(one) != len(other):
        return True
    for turn, (device_id, topics) in enumerate(one.items()):
        if turn % ROWS_PER_TURN == 0:
            await asyncio.sleep(0)
        if topics != other.get(device_id):
            return True
    return False
