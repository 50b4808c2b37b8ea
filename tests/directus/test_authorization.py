"""Whether a user may follow an event is for Directus to say, anew for each subscribe; without a clear yes it is no."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live import Connection, Verdict
from processor_live.slots import AUTHORIZE
from processor_live_demo.access import Access, Handler
from processor_live_demo.directus import answer, silence
from processor_live_directus.authorization import EVENT_TOPIC, verdict_in
from processor_live_directus.client import Answer, NoAnswerError
from tests.core.wire import Client, metric
from tests.directus.conftest import ANA, BEN, EVENT, OTHER_EVENT, Gate
from tests.running import EVENTUALLY_SECONDS, Diary, app_with, problem, running, until

TOPIC = f"event:{EVENT}"
AiohttpClient = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]


@pytest.fixture
async def app(directus_url: str) -> AsyncIterator[web.Application]:
    """An application with this plugin alone."""
    async with running(app_with("authorization", DIRECTUS_BASE_URL=directus_url)) as app:
        yield app


def connection_with(cookie: str) -> Connection:
    """Return the connection of somebody at 192.0.2.7."""
    connection = Client().connection
    connection.cookie = cookie
    return connection


async def verdict(app: web.Application, cookie: str, topic: str = TOPIC) -> Verdict:
    """Ask whether the owner of a cookie may follow a topic."""
    return await app[AUTHORIZE].answer(connection_with(cookie), topic)


async def test_who_may_read_the_event_may_follow_it(app: web.Application, access: Access, cookie: str) -> None:
    assert await verdict(app, cookie) is Verdict.ALLOW
    [call] = access.calls
    assert call.path == f"/items/events/{EVENT}?fields=id"
    assert call.headers["Cookie"] == cookie
    assert call.headers["X-Forwarded-For"] == "192.0.2.7"
    assert "Authorization" not in call.headers


async def test_who_may_not_read_the_event_may_not_follow_it_and_learns_not_whether_there_is_one(
    app: web.Application, access: Access, cookie: str
) -> None:
    assert await verdict(app, access.sign_in(BEN)) is Verdict.FORBIDDEN
    assert await verdict(app, cookie, f"event:{OTHER_EVENT}") is Verdict.FORBIDDEN
    assert problem(app, "directus") is None


async def test_a_session_that_has_ended_is_told_from_a_refusal(app: web.Application, access: Access) -> None:
    ended = access.sign_in(ANA)
    assert await verdict(app, ended) is Verdict.ALLOW
    access.end_session(ended)
    for cookie in (ended, access.expired(ANA), access.forged(ANA), access.truncated(ANA)):
        assert await verdict(app, cookie) is Verdict.SESSION_ENDED
    assert problem(app, "directus") is None


async def test_a_cookie_without_a_session_may_follow_nothing(app: web.Application) -> None:
    assert await verdict(app, "theme=dark") is Verdict.FORBIDDEN, "as Directus' public role may not"


OTHERS = [
    "",
    "event",
    "event:",
    f"event:{EVENT.upper()}",
    f"Event:{EVENT}",
    f" {TOPIC}",
    f"{TOPIC} ",
    f"{TOPIC}\n",
    f"\n{TOPIC}",
    f"event:{{{EVENT}}}",
    f"event:{EVENT.replace('-', '')}",
    f"event:urn:uuid:{EVENT}",
    f"event:{EVENT[:-1]}",
    f"event:{EVENT[:-2]}E1",
    f"event:{EVENT}0",
    f"event:{EVENT}?fields=*",
    f"event:{EVENT}/../../users/me",
    "event:../users/me",
    "event:*",
    f"event:{EVENT.replace('0', chr(0x660))}",
    f"event:{EVENT.replace('1', chr(0xFF11))}",
    f"device:{EVENT}",
    EVENT,
]


@pytest.mark.parametrize("topic", OTHERS)
async def test_what_is_no_canonical_event_is_unknown_and_never_reaches_directus(
    app: web.Application, access: Access, cookie: str, topic: str
) -> None:
    assert await verdict(app, cookie, topic) is Verdict.UNKNOWN_TOPIC
    assert access.calls == []


@settings(deadline=None)  # a machine may be busy
@given(
    st.text()
    | st.text().map("event:{}".format)
    | st.from_regex(r"event:[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
)
def test_only_a_canonical_lower_case_uuid_is_an_event(topic: str) -> None:
    matched = EVENT_TOPIC.fullmatch(topic)
    parts = topic.removeprefix("event:").split("-")
    canonical = [len(part) for part in parts] == [8, 4, 4, 4, 12] and set("".join(parts)) <= set("0123456789abcdef")
    assert (matched is not None) == (topic.startswith("event:") and canonical)


UNDECIDED: Mapping[str, Handler] = {
    "429": answer(429, headers={"Retry-After": "1"}),
    "500": answer(500, body=b'{"errors":[{"extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}'),
    "503": answer(503, body=b'{"errors":[{"extensions":{"code":"SERVICE_UNAVAILABLE"}}]}'),
    "400": answer(400, body=b'{"errors":[{"extensions":{"code":"FORBIDDEN"}}]}'),
    "204": answer(204),
    "html": answer(200, body=b"<!doctype html>"),
    "a list": answer(200, body=f'{{"data":[{{"id":"{EVENT}"}}]}}'.encode()),
    "nothing": answer(200, body=b'{"data":null}'),
    "another event": answer(200, body=f'{{"data":{{"id":"{OTHER_EVENT}"}}}}'.encode()),
    "403 of a proxy": answer(403, body=b"<!doctype html>"),
    "403 without a code": answer(403, body=b'{"errors":[{"message":"no"}]}'),
    "403 with another code": answer(403, body=b'{"errors":[{"extensions":{"code":"IP_DENIED"}}]}'),
    "redirect": answer(302, headers={"Location": f"/items/events/{EVENT}"}),
}


@pytest.mark.parametrize("override", UNDECIDED.values(), ids=UNDECIDED)
async def test_what_is_neither_a_clear_yes_nor_a_clear_no_is_undecided(
    app: web.Application, access: Access, cookie: str, override: Handler, diary: Diary
) -> None:
    access.overrides["events"] = override
    assert await verdict(app, cookie) is Verdict.UNDECIDED
    assert access.calls_by_kind() == {"events": 1}, "neither repeated nor followed"
    assert problem(app, "directus") is not None
    del access.overrides["events"]
    assert await verdict(app, cookie) is Verdict.ALLOW
    assert problem(app, "directus") is None
    assert diary.count(cookie.partition("=")[2]) == 0


async def test_silence_is_undecided(directus_url: str, access: Access, cookie: str) -> None:
    access.overrides["events"] = silence()
    plugged = app_with("authorization", DIRECTUS_BASE_URL=directus_url, DIRECTUS_AUTHZ_TIMEOUT_MS="100")
    async with running(plugged) as app:
        assert await verdict(app, cookie) is Verdict.UNDECIDED
        assert "Timeout" in str(problem(app, "directus"))


async def test_a_404_is_not_found(app: web.Application, access: Access, cookie: str) -> None:
    access.overrides["events"] = answer(404, body=b"<!doctype html>")
    assert await verdict(app, cookie) is Verdict.NOT_FOUND


async def test_without_directus_nothing_is_allowed(cookie: str, unused_tcp_port: int) -> None:
    plugged = app_with("authorization", DIRECTUS_BASE_URL=f"http://127.0.0.1:{unused_tcp_port}")
    async with running(plugged) as app:
        assert await verdict(app, cookie) is Verdict.UNDECIDED
        assert "Cannot connect" in str(problem(app, "directus"))


async def test_every_subscribe_asks_anew_also_at_the_same_moment(
    app: web.Application, access: Access, cookie: str
) -> None:
    """The connections share a cookie, but what one was allowed a moment ago the other may have lost."""
    before = metric("live_directus_calls_total", kind="events", status="200")
    assert await asyncio.gather(*[verdict(app, cookie) for _ in range(5)]) == [Verdict.ALLOW] * 5
    access.users[ANA].events.clear()
    assert await verdict(app, cookie) is Verdict.FORBIDDEN
    assert access.calls_by_kind() == {"events": 6}
    assert metric("live_directus_calls_total", kind="events", status="200") - before == 5


async def test_calls_are_counted_by_kind_and_status(app: web.Application, access: Access, cookie: str) -> None:
    statuses = ("200", "403", "401", "503", "none")
    before = [metric("live_directus_calls_total", kind="events", status=status) for status in statuses]
    seconds = metric("live_directus_seconds_count")
    await verdict(app, cookie)
    await verdict(app, access.sign_in(BEN))
    await verdict(app, access.expired(ANA))
    for override in (answer(503), answer(200, body=b" " * 100_000)):
        access.overrides["events"] = override
        await verdict(app, cookie)
    after = [metric("live_directus_calls_total", kind="events", status=status) for status in statuses]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1] * 5
    assert metric("live_directus_seconds_count") - seconds == 5


async def test_both_plugins_share_their_places_at_directus(
    aiohttp_client: AiohttpClient, directus_url: str, access: Access, cookie: str
) -> None:
    environ = {"DIRECTUS_BASE_URL": directus_url, "DIRECTUS_MAX_CONCURRENCY": "1"}
    client = await aiohttp_client(app_with("auth,authorization", **environ))
    gate = access.overrides["events"] = access.overrides["users"] = Gate()
    before = metric("live_directus_waiting")
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        asked = asyncio.create_task(verdict(client.app, cookie))
        knocking = asyncio.create_task(client.ws_connect("/ws-live", headers={"Cookie": cookie}))
        await until(lambda: metric("live_directus_waiting") - before == 2 and gate.inside)
        async with client.session.get(f"{directus_url}/login") as response:  # time enough for one more call
            assert response.status == 200
        assert len(access.calls) == 1
        gate.opened.set()
        await asyncio.gather(asked, knocking)
    assert (gate.most, len(access.calls)) == (1, 2)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (Answer(200, EVENT, None), Verdict.ALLOW),
        (Answer(401, None, "INVALID_CREDENTIALS"), Verdict.SESSION_ENDED),
        (Answer(401, None, "TOKEN_EXPIRED"), Verdict.SESSION_ENDED),
        (Answer(401, None, None), Verdict.SESSION_ENDED),
        (Answer(403, None, "INVALID_TOKEN"), Verdict.SESSION_ENDED),
        (Answer(403, None, "TOKEN_EXPIRED"), Verdict.SESSION_ENDED),
        (Answer(403, None, "FORBIDDEN"), Verdict.FORBIDDEN),
        (Answer(404, None, None), Verdict.NOT_FOUND),
    ],
)
def test_what_an_answer_means(said: Answer, meaning: Verdict) -> None:
    assert verdict_in(EVENT, said) is meaning


@pytest.mark.parametrize("code", [100, 200, 201, 204, 304, 400, 402, 403, 405, 418])
def test_any_other_status_means_nothing(code: int) -> None:
    with pytest.raises(NoAnswerError) as caught:
        verdict_in(EVENT, Answer(code, OTHER_EVENT if code == 200 else EVENT, None))
    assert caught.value.status == str(code)
