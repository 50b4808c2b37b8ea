"""How does a connection wait for Postgres, and how does it fail?"""

import asyncio
import os
from typing import Any, Self
from weakref import ReferenceType

import aiopg
import psycopg2


class Connection(aiopg.Connection):
    """A connection of aiopg whose failures are what psycopg2 says, told at once, and only to who waits for it.

    How long anything may take is the caller's business: who is cancelled while waiting leaves a closed connection.
    """

    @classmethod
    async def to(cls, dsn: str) -> Self:
        """Connect to one address. Raises `psycopg2.Error`."""
        connection = cls(dsn, timeout=0, enable_json=False, enable_hstore=False, enable_uuid=False)
        # nobody listens: aiopg would keep the first failure there, and by its traceback all who have waited for it
        connection._notifies_proxy.close(psycopg2.NotSupportedError())
        _ = await connection
        return connection

    async def _poll(self, waiter: "asyncio.Future[None]", timeout: float) -> None:  # noqa: ARG002, ASYNC109 - aiopg's
        """Wait until the server has answered.

        aiopg's own makes a `CancelledError` of a statement that the server has cancelled, which inside a task is
        silence, and a traceback in the log.
        """
        self._ready(self._weakref)
        try:
            await waiter
        except asyncio.CancelledError:
            self._close()
            raise
        finally:
            self._waiter = None

    @staticmethod
    def _ready(weak_self: "ReferenceType[Any]") -> None:
        """Take what the server has said.

        To see after a failure whether the descriptor is still open, aiopg's own asks select(2), which knows none above
        1,023. A thousand viewers are enough for that: a traceback in the log, and who waits is never told.
        """
        try:
            aiopg.Connection._ready(weak_self)  # noqa: SLF001 - ours by inheritance, but static
        except ValueError as error:
            connection = weak_self()
            assert isinstance(connection, Connection)  # noqa: S101 - aiopg has just used it
            connection._fail(error.__context__)  # noqa: SLF001 - our own

    def _fail(self, failure: BaseException | None) -> None:
        """Tell who waits, and stop watching a descriptor that is closed, or whoever gets its number would suffer."""
        assert failure is not None  # noqa: S101 - psycopg2's
        assert self._fileno is not None  # noqa: S101 - or there were nothing to ask select(2) for
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fileno)
        try:
            os.fstat(self._fileno)
        except OSError:
            self._loop.remove_reader(self._fileno)
            self._fileno = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)
