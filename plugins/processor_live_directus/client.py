"""What does Directus say? (docs/contract.md §6.3)"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic, TypeVar

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs, web
from marshmallow import EXCLUDE, Schema, ValidationError, fields
from prometheus_async.aio import time
from prometheus_client import Counter, Histogram
from yarl import URL

from processor_live import ENVIRON, HEALTH, Check, StartError, integer, load, one_line, url
from processor_live_directus.places import NoPlaceError, Places

CALLS = Counter(
    "live_directus_calls_total",
    "Calls to Directus by kind and status, `none` when it failed to answer, `unasked` when there was no free place",
    ["kind", "status"],
)
SECONDS = Histogram("live_directus_seconds", "One call to Directus, waiting for a free place included")

MAX_BODY_BYTES = 65_536
"""Answers are some hundred bytes; whoever sends more is not Directus."""


@dataclass(frozen=True, kw_only=True)
class DirectusSettings:
    """The keys of the Directus plugins."""

    base_url: str = url("DIRECTUS_BASE_URL", "http://directus:8055", ("http", "https"), "where Directus answers")
    auth_timeout_ms: int = integer(
        "DIRECTUS_AUTH_TIMEOUT_MS", 3_000, 1, 60_000,
        "for one /users/me, once it has its place; above 5000 browsers give up first",
    )  # fmt: skip
    authz_timeout_ms: int = integer(
        "DIRECTUS_AUTHZ_TIMEOUT_MS", 3_000, 1, 60_000, "for one event check, once it has its place"
    )
    max_concurrency: int = integer(
        "DIRECTUS_MAX_CONCURRENCY", 32, 1, 1_000, "calls at the same time; a storm queues here, not there"
    )

    def __post_init__(self) -> None:
        try:
            readable = URL(self.base_url).port != 0
        except ValueError:  # as aiohttp's would be at each call, and its message may quote a password
            readable = False
        if not readable:
            raise StartError(
                "processor-live: DIRECTUS_BASE_URL cannot be read: in a password '/', '@', ':', '?', '#', '%', '[', "
                "']' and '\\' must be percent-encoded, a host is a name or an address, and a port is a number"
            )


class NoAnswerError(Exception):
    """Directus failed to answer: a timeout, the network, 429, 5xx, or a body or status that is none of its own."""

    def __init__(self, reason: str, status: str = "none") -> None:
        super().__init__(reason)
        self.status = status
        """The HTTP status as text, `none` when there was none."""


class _ErrorExtensions(Schema):
    class Meta:
        unknown = EXCLUDE

    code = fields.String(load_default=None, allow_none=True)


class _Error(Schema):
    class Meta:
        unknown = EXCLUDE

    extensions = fields.Nested(_ErrorExtensions, load_default=dict)


class _Item(Schema):
    class Meta:
        unknown = EXCLUDE

    id = fields.String(required=True)


class _Body(Schema):
    class Meta:
        unknown = EXCLUDE

    data = fields.Nested(_Item, load_default=None, allow_none=True)
    errors = fields.List(fields.Nested(_Error), load_default=list)


_body_schema = _Body()


@dataclass(frozen=True, slots=True)
class Answer:
    """What Directus answered, as far as it matters."""

    status: int
    id: str | None
    """`data.id`, None when there is no `data`."""
    code: str | None
    """The first error's code, None when there is none to be read."""


_Meaning = TypeVar("_Meaning")


@dataclass(frozen=True, slots=True)
class Question(Generic[_Meaning]):
    """What is asked, for the metrics, and what an answer means."""

    kind: str
    read: Callable[[Answer], _Meaning]
    """Raises `NoAnswerError` for an answer that means nothing."""
    patience_s: float
    """What it may wait for a free place."""
    newcomer: bool = False
    """Whether it is asked for somebody who is not in yet, and waits behind those who are."""


class Directus:
    """One Directus, asked on behalf of clients with their own cookies."""

    def __init__(self, settings: DirectusSettings, check: Check) -> None:
        self.settings = settings
        self._base_url = settings.base_url.rstrip("/")
        self._check = check
        self._problems: dict[str, str] = {}
        """By kind of question, why the last one had no answer, or was not asked; without those that were well."""
        self._places = Places(settings.max_concurrency)
        self._session: ClientSession | None = None

    async def context(self, _: web.Application) -> AsyncIterator[None]:
        """Keep an HTTP session for as long as the application runs."""
        connector = TCPConnector(limit=self.settings.max_concurrency)
        async with ClientSession(connector=connector, cookie_jar=DummyCookieJar()) as self._session:
            yield
            await self._places.close()

    @time(SECONDS)
    async def get(
        self, question: Question[_Meaning], path: str, *, cookie: str, address: str, timeout_ms: int
    ) -> _Meaning:
        """Ask once for `path`, no retries, no redirects, with the client's cookie verbatim and its address.

        Return what the question makes of the answer. Raises `NoAnswerError`; an answer that says no is an answer.
        """
        headers: dict[str, str] = {hdrs.COOKIE: cookie, hdrs.ACCEPT: "application/json"}
        if address:
            headers[hdrs.X_FORWARDED_FOR] = address
        waiting = f"{question.kind} waiting"
        if self._places.any_free(newcomer=question.newcomer):
            self._note(waiting, None)
        try:
            return await self._places.call(
                lambda: self._call(question, path, headers, timeout_ms),
                newcomer=question.newcomer,
                patience_s=question.patience_s,
            )
        except NoPlaceError as error:
            CALLS.labels(question.kind, "unasked").inc()
            self._note(waiting, str(error))
            raise NoAnswerError(str(error), "unasked") from None

    async def _call(
        self, question: Question[_Meaning], path: str, headers: dict[str, str], timeout_ms: int
    ) -> _Meaning:
        try:
            answer = await self._ask(path, headers, timeout_ms)
            meaning = question.read(answer)
        except (ClientError, OSError, ValueError, NoAnswerError) as error:  # TimeoutError is an OSError
            reason, status = _reason(error), error.status if isinstance(error, NoAnswerError) else "none"
        else:
            CALLS.labels(question.kind, str(answer.status)).inc()
            self._note(question.kind, None)
            return meaning
        CALLS.labels(question.kind, status).inc()
        self._note(question.kind, reason)
        # not where it was caught: a timeout in its context would hold the task that holds it, and all that task knows
        raise NoAnswerError(reason, status) from None

    def _note(self, kind: str, problem: str | None) -> None:
        """Say what is wrong with any kind of question: if one never has an answer, each viewer would make two lines."""
        if problem is None:
            self._problems.pop(kind, None)
        else:
            self._problems[kind] = f"{kind}: {problem}"
        if self._problems:
            self._check.failing("; ".join(self._problems.values()))
        else:
            self._check.good()

    async def _ask(self, path: str, headers: dict[str, str], timeout_ms: int) -> Answer:
        assert self._session is not None  # noqa: S101 - the application has started
        async with self._session.get(
            self._base_url + path,
            headers=headers,
            timeout=ClientTimeout(total=timeout_ms / 1000),
            allow_redirects=False,
        ) as response:
            if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise NoAnswerError(f"status {response.status}", str(response.status))
            return _answer(response.status, await _body(response))


def _reason(error: Exception) -> str:
    """Return why there was no answer, for the operator, without what went or came.

    Who refuses to send a URL or a cookie, or cannot read an answer, may quote it, and with it a password.
    """
    if isinstance(error, OSError | NoAnswerError):
        return one_line(error)
    what = "no request that can be sent" if isinstance(error, ValueError) else "not a whole answer in HTTP"
    return f"{type(error).__name__}: {what}"


async def _body(response: ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise NoAnswerError(f"an answer of more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _answer(status: int, body: bytes) -> Answer:
    """Read an answer. A body that cannot be read says nothing: whether that matters depends on the status."""
    try:
        valid = _body_schema.loads(body)
    except (ValidationError, ValueError, RecursionError):
        if status == HTTPStatus.OK:
            raise NoAnswerError("a body that is not Directus's", str(status)) from None
        return Answer(status, None, None)
    item, errors = valid["data"], valid["errors"]
    return Answer(status, item["id"] if item else None, errors[0]["extensions"].get("code") if errors else None)


DIRECTUS: web.AppKey[Directus] = web.AppKey("directus", Directus)


def directus_of(app: web.Application) -> Directus:
    """Return the one Directus that both plugins of this package ask."""
    if DIRECTUS not in app:
        settings = load(DirectusSettings, app[ENVIRON])
        app[DIRECTUS] = Directus(settings, app[HEALTH].check("directus"))
        app.cleanup_ctx.append(app[DIRECTUS].context)
    return app[DIRECTUS]
