"""In which order are a client's commands answered, and how many may it send?"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from processor_live import metrics, protocol
from processor_live.cancellation import no_strays
from processor_live.connection import Connection
from processor_live.patience import Patience
from processor_live.protocol import Command, Disconnect, ErrorCode, InvalidMessageError
from processor_live.signals import told

log = logging.getLogger(__name__)

MAX_WAITING = 16
"""Commands of one connection that may wait while one is being worked on (docs/contract.md §3)."""
MAX_VIOLATIONS = 10
"""The tenth invalid message is answered, then the connection is closed (docs/contract.md §3)."""
BURST_SECONDS = 2
"""So many seconds' worth of commands may come at once (docs/contract.md §7)."""

PATIENCE_SECONDS = 4.8
"""A command has its answer so long after it came: the SPA gives up on a subscribe after 5 s (docs/contract.md §4)."""

Execute = Callable[[Connection, Command, Patience], Awaitable[None]]
"""To carry out and answer a command, for as long as the client waits."""


class CommandQueue:
    """The commands of one connection: worked on one after another, while the connection goes on reading."""

    __slots__ = (
        "_allowance", "_allowed_at", "_connection", "_execute", "_finishing", "_patience", "_rate", "_violations",
        "_waiting", "_worker",
    )  # fmt: skip

    def __init__(self, connection: Connection, execute: Execute, per_second: int) -> None:
        self._connection = connection
        self._execute = execute
        self._waiting: list[tuple[Command | InvalidMessageError, Patience]] = []  # a deque takes 760 bytes, idle or not
        self._worker: asyncio.Task[None] | None = None
        self._patience: Patience | None = None
        """For the command that is being worked on, or for the plugins that are told of it."""
        self._finishing = False
        self._violations = 0
        self._rate = per_second
        self._allowance = float(per_second * BURST_SECONDS)
        self._allowed_at = asyncio.get_running_loop().time()

    def put(self, message: str | bytes) -> None:
        """Take a message; it is answered when its turn comes, or at once with `rate-limited`."""
        if self._finishing or self._violations == MAX_VIOLATIONS:
            return  # the tenth is the last thing that is answered
        item: Command | InvalidMessageError
        try:
            item = protocol.parse(message)
        except InvalidMessageError as error:
            self._violations += 1
            item = error
        else:
            if len(self._waiting) >= MAX_WAITING or not self._allows():
                metrics.COMMANDS.labels(ErrorCode.RATE_LIMITED.value).inc()
                self._connection.send(protocol.refused(item, ErrorCode.RATE_LIMITED))
                return
        patience = Patience(asyncio.get_running_loop().time() + PATIENCE_SECONDS)
        if self._worker is None:
            self._patience = patience
            self._worker = asyncio.create_task(self._work(item, patience))
        else:
            self._waiting.append((item, patience))

    def _allows(self) -> bool:
        """Take one command off the allowance (a token bucket); False when it is used up."""
        now = asyncio.get_running_loop().time()
        refilled = self._allowance + (now - self._allowed_at) * self._rate
        self._allowance, self._allowed_at = min(refilled, self._rate * BURST_SECONDS), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    async def _work(self, item: Command | InvalidMessageError, patience: Patience) -> None:
        """Answer `item`, and whatever comes to wait meanwhile."""
        try:
            while self._connection.closing is None:
                if isinstance(item, Command):
                    with no_strays():
                        await self._execute(self._connection, item, patience)
                    await self._plugins_are_told()
                else:
                    metrics.COMMANDS.labels(ErrorCode.INVALID_MESSAGE.value).inc()
                    self._connection.send(protocol.misunderstood(item))
                if not self._waiting:
                    break
                item, patience = self._waiting.pop(0)
                self._patience = patience
        except Exception:
            log.exception("command.failed")
            self._connection.close(Disconnect.FAILED)
        finally:
            self._worker = self._patience = None
        if self._violations == MAX_VIOLATIONS:
            self._connection.close(Disconnect.VIOLATIONS)
        if self._finishing:
            self._connection.close(Disconnect.RESTART)

    async def _plugins_are_told(self) -> None:
        """Let the plugins keep up with the commands; but when these come to their end, nobody waits for them."""
        if not self._finishing:
            self._patience = Patience(math.inf)
            with suppress(TimeoutError):
                async with self._patience.lasting():
                    await told(self._connection)

    def finish(self, by: float) -> None:
        """Take no more, and close with 1012 when all that has come is answered, `by` (loop time) at the latest."""
        self._finishing = True
        if self._patience is None:
            self._connection.close(Disconnect.RESTART)
            return
        for patience in (self._patience, *(patience for _, patience in self._waiting)):
            patience.shorten(by)

    async def close(self) -> None:
        """Stop working: the connection is gone."""
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
