"""How is Postgres asked, without ever blocking the loop or hanging on it?

A pool of our own on aiopg's connections, because each of these has bitten: aiopg hangs on a host with two addresses of
which the first refuses, reports a cancelled statement as `CancelledError`, and its pool hands out connections that a
restart of the server has killed.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiopg
import psycopg2
from aiohttp import web
from psycopg2.extensions import make_dsn, parse_dsn

from processor_live import StartError, integer, url

CONNECT_SECONDS = 3.0
ROWS_PER_TURN = 500
"""Rows turned into Python objects before the loop may do something else: 10,000 at once block it for 31 ms."""


@dataclass(frozen=True, kw_only=True)
class PostgresSettings:
    """The keys of the Postgres plugins."""

    url: str = url(
        "POSTGRES_URL", None, ("postgres", "postgresql"), "where the Processor writes; a read-only user is enough"
    )
    pool_size: int = integer("LIVE_POSTGRES_POOL_SIZE", 4, 1, 100, "connections for snapshots; routing has one more")
    snapshot_timeout_ms: int = integer(
        "LIVE_SNAPSHOT_TIMEOUT_MS", 1_500, 1, 60_000, "then a subscribe is answered with what the stream has shown"
    )
    device_event_refresh_ms: int = integer(
        "LIVE_DEVICE_EVENT_REFRESH_MS",
        30_000,
        100,
        86_400_000,
        "how often the table of devices and their events is read",
    )

    def __post_init__(self) -> None:
        try:
            ports = parse_dsn(self.url).get("port", "")
        except psycopg2.ProgrammingError:  # its message may quote the password
            ports = "unreadable"
        if not all(port.isdecimal() for port in ports.split(",") if port):
            raise StartError(
                "processor-live: POSTGRES_URL cannot be read: in a password '/', '@', ':', '?', '#' and '%' must be "
                "percent-encoded, and a port is a number"
            )


class Database:
    """Read-only queries to one Postgres over at most `size` connections."""

    def __init__(self, dsn: str, *, size: int, statement_timeout_ms: int) -> None:
        self._parameters = parse_dsn(dsn)
        limits = f"-c statement_timeout={statement_timeout_ms} -c default_transaction_read_only=on"
        self._parameters["options"] = f"{self._parameters.get('options', '')} {limits}".strip()
        self._parameters.setdefault("application_name", "processor-live")
        self._places = asyncio.Semaphore(size)
        self._idle: list[aiopg.Connection] = []

    async def context(self, _: web.Application) -> AsyncIterator[None]:
        """Close what is open when the application ends."""
        yield
        await self._forget_idle()

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises `psycopg2.Error`, `OSError`, or `TimeoutError` when the server cancelled the statement.
        """
        async with self._places:
            if self._idle:
                try:
                    return await self._query(self._idle.pop(), query, parameters)
                except (psycopg2.OperationalError, psycopg2.InterfaceError):
                    await self._forget_idle()  # the server has restarted: they are all dead, and a new one may live
            return await self._query(await self._connect(), query, parameters)

    async def _query(
        self, connection: aiopg.Connection, query: str, parameters: Sequence[object]
    ) -> list[tuple[Any, ...]]:
        try:
            rows = await _fetch(connection, query, parameters)
        except asyncio.CancelledError:
            await connection.close()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise TimeoutError("the server cancelled the statement") from None  # aiopg says it with CancelledError
        except BaseException:
            await connection.close()
            raise
        self._idle.append(connection)
        return rows

    async def _connect(self) -> aiopg.Connection:
        """Try the host's addresses one after another."""
        failure: Exception | None = None
        for address in await self._addresses():
            parameters = {**self._parameters, **({"hostaddr": address} if address else {})}
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await aiopg.connect(
                        make_dsn(**parameters), enable_json=False, enable_hstore=False, enable_uuid=False
                    )
            except (psycopg2.Error, OSError) as error:
                failure = error
        raise failure or OSError("the host has no address")

    async def _addresses(self) -> list[str | None]:
        host = self._parameters.get("host", "")
        if not host or host.startswith("/") or "," in host or "hostaddr" in self._parameters:
            return [None]  # a Unix socket, or the operator has said it all
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, self._parameters.get("port", 5432), type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    async def _forget_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(psycopg2.Error):  # closing what is broken
                await self._idle.pop().close()


async def _fetch(connection: aiopg.Connection, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    async with connection.cursor() as cursor:
        await cursor.execute(query, parameters)
        rows: list[tuple[Any, ...]] = []
        while chunk := await cursor.fetchmany(ROWS_PER_TURN):
            rows += chunk
            await asyncio.sleep(0)
        return rows
