"""May this user follow this event? Directus knows its own rules (docs/contract.md §4, §6.3)."""

import re
from functools import partial

from aiohttp import web

from processor_live import AUTHORIZE, Connection, Verdict
from processor_live_directus.client import Answer, NoAnswerError, Question, directus_of

EVENT_TOPIC = re.compile(r"event:([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII)
"""Canonical and lower-case: an empty id would list all events, a malformed one makes Directus fail."""
PATIENCE_SECONDS = 3.8
"""For a free place: of the 4.8 s within which a subscribe is answered, one is left to the call and the snapshot."""

_SESSION_CODES = frozenset({"INVALID_TOKEN", "TOKEN_EXPIRED", "INVALID_CREDENTIALS"})


def setup(app: web.Application) -> None:
    """Ask Directus, once per subscribe, whether the connection's user may read the event."""
    directus = directus_of(app)
    timeout_ms = directus.settings.authz_timeout_ms

    async def authorize(connection: Connection, topic: str) -> Verdict:
        event = EVENT_TOPIC.fullmatch(topic)
        if event is None:
            return Verdict.UNKNOWN_TOPIC
        path = f"/items/events/{event[1]}?fields=id"
        may_read = Question("events", partial(verdict_in, event[1]), PATIENCE_SECONDS)
        try:
            return await directus.get(
                may_read, path, cookie=connection.cookie, address=connection.address, timeout_ms=timeout_ms
            )
        except NoAnswerError:
            return Verdict.UNDECIDED

    app[AUTHORIZE].fill(authorize)


def verdict_in(event_id: str, answer: Answer) -> Verdict:
    """Return what an answer about an event means. Raise `NoAnswerError` when it is not clearly a yes or a no."""
    match answer.status:
        case 200 if answer.id == event_id:
            return Verdict.ALLOW
        case 401:
            return Verdict.SESSION_ENDED
        case 403 if answer.code == "FORBIDDEN":
            return Verdict.FORBIDDEN
        case 403 if answer.code in _SESSION_CODES:
            return Verdict.SESSION_ENDED
        case 404:
            return Verdict.NOT_FOUND
    raise NoAnswerError(f"status {answer.status} about an event", str(answer.status))
