"""How does a client come to follow a topic, and leave it?"""

import logging
import time
from collections.abc import Iterable

from aiohttp import web

from processor_live import metrics, protocol
from processor_live.cancellation import no_strays
from processor_live.connection import Connection
from processor_live.failure import one_line
from processor_live.hub import HUB
from processor_live.patience import Patience
from processor_live.position import Row
from processor_live.protocol import Command, Disconnect, ErrorCode, Kind, Verdict
from processor_live.settings import SETTINGS
from processor_live.signals import SUBSCRIBED, UNSUBSCRIBED, tell
from processor_live.slots import AUTHORIZE, SNAPSHOT

log = logging.getLogger(__name__)


class Subscriptions:
    """Carries out the commands of all connections; those of one connection must come one after another."""

    def __init__(self, app: web.Application) -> None:
        self._hub = app[HUB]
        self._authorize = app[AUTHORIZE]
        self._snapshot = app[SNAPSHOT]
        self._subscribed = app[SUBSCRIBED]
        self._unsubscribed = app[UNSUBSCRIBED]
        self._max = app[SETTINGS].max_subscriptions

    async def execute(self, connection: Connection, command: Command, patience: Patience) -> None:
        """Carry out and answer one command; what is not known when the patience is over is answered without."""
        if command.kind is Kind.UNSUBSCRIBE:
            self._unsubscribe(connection, command)
            return
        began = time.perf_counter()
        await self._subscribe(connection, command, patience)
        metrics.SUBSCRIBE_SECONDS.observe(time.perf_counter() - began)  # not of a client that hung up meanwhile

    async def _subscribe(self, connection: Connection, command: Command, patience: Patience) -> None:
        topic = command.topic
        if topic not in connection.topics and len(connection.topics) >= self._max:
            self._refuse(connection, command, ErrorCode.TOO_MANY_SUBSCRIPTIONS)
            return
        verdict = await self._may_follow(connection, topic, patience)
        if verdict.value is not None:
            if verdict is not Verdict.UNDECIDED:
                self._leave(connection, topic)  # refused now: what was granted before is gone too
            self._refuse(connection, command, verdict.value)
            if verdict is Verdict.SESSION_ENDED:
                connection.close(Disconnect.SESSION_ENDED)
            return
        rows = await self._rows(topic, patience)
        held = topic in connection.topics
        # In one go, without an await: G1, G2 and G3 hang on it.
        connection.send(protocol.subscribed(command, self._hub.join(connection, topic, rows)))
        metrics.COMMANDS.labels("subscribed").inc()
        if held:
            tell(self._unsubscribed, connection, topic)
        tell(self._subscribed, connection, topic)

    def _unsubscribe(self, connection: Connection, command: Command) -> None:
        self._leave(connection, command.topic)
        connection.send(protocol.unsubscribed(command))
        metrics.COMMANDS.labels("unsubscribed").inc()

    def leave_all(self, connection: Connection) -> None:
        """End all memberships of a connection that is closed."""
        for topic in list(connection.topics):
            self._leave(connection, topic)

    def _leave(self, connection: Connection, topic: str) -> None:
        if self._hub.leave(connection, topic):
            tell(self._unsubscribed, connection, topic)

    def _refuse(self, connection: Connection, command: Command, code: ErrorCode) -> None:
        connection.send(protocol.refused(command, code))
        metrics.COMMANDS.labels(code.value).inc()

    async def _may_follow(self, connection: Connection, topic: str, patience: Patience) -> Verdict:
        if patience.over:  # it has waited for others in vain; nobody need be asked any more
            return Verdict.UNDECIDED
        try:
            async with patience.lasting() as asking:
                with no_strays():
                    return await self._authorize.answer(connection, topic)
        except Exception:  # a plugin's, whatever it is: fail closed
            if not asking.expired():
                metrics.PLUGIN_FAILURES.labels("AUTHORIZE").inc()
                log.exception("authorize.failed")
            return Verdict.UNDECIDED

    async def _rows(self, topic: str, patience: Patience) -> Iterable[Row]:
        try:
            async with patience.lasting():
                with no_strays():
                    return await self._snapshot.answer(topic)
        except Exception as error:  # noqa: BLE001 - a plugin's, whatever it is: fail open
            metrics.SNAPSHOT_FAILURES.inc()
            log.debug("snapshot.failed topic=%r error=%r", topic, one_line(error))
            return ()
