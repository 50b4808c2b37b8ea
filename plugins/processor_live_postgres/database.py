"""How is Postgres asked, without ever blocking the loop or hanging on it?

A pool of our own, because aiopg's hands out connections that a restart of the server has killed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from aiohttp import web
from psycopg2.extensions import make_dsn, parse_dsn

from processor_live import StartError, integer, url
from processor_live_postgres.addresses import addresses_of, servers_of
from processor_live_postgres.connection import Connection

Columns = tuple[Any, ...]

CONNECT_SECONDS = 3.0
"""For one address of the host."""
GRACE_SECONDS = 1.0
"""What a living server may take to say that it has cancelled a statement."""
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
            readable = bool(servers_of(parse_dsn(self.url)))
        except (psycopg2.ProgrammingError, ValueError):  # its message may quote the password
            readable = False
        if not readable:
            raise StartError(
                "processor-live: POSTGRES_URL cannot be read: in a password '/', '@', ':', '?', '#' and '%' must be "
                "percent-encoded, a port is a number, and of several hosts each has one, or all have one"
            )


class Database:
    """Read-only queries to one Postgres, over `size` connections at most.

    The server never sees more of them, unless it does not even cancel a statement, and is late to notice that we left.
    """

    def __init__(self, dsn: str, *, size: int, timeout_ms: int, session: Mapping[str, str] = {}) -> None:
        parameters = parse_dsn(dsn)
        session = {"statement_timeout": str(timeout_ms), "default_transaction_read_only": "on", **session}
        options = (parameters.get("options", ""), *(f"-c {name}={value}" for name, value in session.items()))
        parameters["options"] = " ".join(options).strip()
        parameters.setdefault("application_name", "processor-live")
        parameters.setdefault("client_encoding", "UTF8")  # a database without one of its own would speak ASCII
        self._servers = servers_of(parameters)
        self._timeout_ms = timeout_ms
        self._places = asyncio.Semaphore(size)
        self._queries: set[asyncio.Task[list[Columns]]] = set()
        """Those that have a place, whether or not somebody still waits for the answer."""
        self._idle: list[Connection] = []

    async def context(self, _: web.Application) -> AsyncIterator[None]:
        """Close what is open when the application ends."""
        yield
        for query in self._queries:
            query.cancel()
        if self._queries:
            await asyncio.wait(self._queries)
        await self._forget_idle()

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Columns]:
        """Return all rows of a query within the timeout, the wait for a place included.

        Raises `psycopg2.Error` or `OSError`, of which `TimeoutError` is one. Who has waited for too long leaves alone:
        the place is free when the server has done, or those who come next would open one connection after another
        while it is busy with what nobody waits for.
        """
        lacking = "free connection"
        try:
            async with asyncio.timeout(self._timeout_ms / 1000) as patience:
                await self._places.acquire()
                lacking = "answer"
                return await asyncio.shield(self._begin(query, parameters))
        except TimeoutError:
            if patience.expired():
                raise TimeoutError(f"no {lacking} within {self._timeout_ms} ms") from None
            raise

    def _begin(self, query: str, parameters: Sequence[object]) -> "asyncio.Task[list[Columns]]":
        """Run a query that has a place, which it gives back at its end."""
        task = asyncio.create_task(self._run(query, parameters))
        self._queries.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, query: "asyncio.Task[list[Columns]]") -> None:
        self._queries.discard(query)
        self._places.release()
        if not query.cancelled():
            query.exception()  # seen, also when who asked has left

    async def _run(self, query: str, parameters: Sequence[object]) -> list[Columns]:
        if self._idle:
            connection = self._idle.pop()
            try:
                return await self._ask(connection, query, parameters)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if not connection.closed:
                    raise
                await self._forget_idle()  # the server has restarted: they are all dead, and a new one may live
        return await self._ask(await self._connect(), query, parameters)

    async def _ask(self, connection: Connection, query: str, parameters: Sequence[object]) -> list[Columns]:
        try:
            async with asyncio.timeout(self._timeout_ms / 1000 + GRACE_SECONDS):
                return await _fetch(connection, query, parameters)
        except TimeoutError:  # a server that does not even cancel the statement: nor would it hear the others
            await connection.close()
            await self._forget_idle()
            raise
        except BaseException as error:
            if not _is_about_the_statement(error):
                await connection.close()  # and the server may show it for a moment more, beside the next one
            raise
        finally:
            if not connection.closed:
                self._idle.append(connection)

    async def _connect(self) -> Connection:
        """Try the addresses of all servers one after another."""
        failure: Exception = OSError("the host has no address")
        for server in self._servers:
            try:
                addresses = await addresses_of(server)
            except OSError as error:
                failure = error
                continue
            for address in addresses:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        return await Connection.to(make_dsn(**address))
                except TimeoutError:
                    failure = TimeoutError(f"no connection within {CONNECT_SECONDS:g} s")
                except (psycopg2.Error, OSError) as error:
                    failure = error
        raise failure

    async def _forget_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(psycopg2.Error):  # closing what is broken
                await self._idle.pop().close()


def _is_about_the_statement(error: BaseException) -> bool:
    """Return whether this is the server's answer, after which it is ready for the next; `FATAL` is its last word."""
    return isinstance(error, psycopg2.Error) and error.diag.severity_nonlocalized == "ERROR"


async def _fetch(connection: Connection, query: str, parameters: Sequence[object]) -> list[Columns]:
    async with connection.cursor() as cursor:
        await cursor.execute(query, parameters)
        rows: list[Columns] = []
        while chunk := await cursor.fetchmany(ROWS_PER_TURN):
            rows += chunk
            await asyncio.sleep(0)
        return rows
