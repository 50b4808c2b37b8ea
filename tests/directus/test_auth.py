"""Whose cookie Directus accepts gets in, who is refused is told so, and who cannot be judged may come back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
from aiohttp import WSServerHandshakeError, web
from aiohttp.test_utils import TestClient
from multidict import CIMultiDict

from processor_live import Identity
from processor_live.connection import Connection
from processor_live.signals import CONNECTED
from processor_live_demo.access import COOKIE_NAME, Access, Handler
from processor_live_demo.directus import answer, silence
from processor_live_directus.auth import ME, identity_in
from processor_live_directus.client import Answer, NoAnswerError
from tests.core.wire import metric
from tests.directus.conftest import ANA, BEN, EVENT, Gate
from tests.running import EVENTUALLY_SECONDS, Diary, app_with, problem, until

Client = TestClient[web.Request, web.Application]
AiohttpClient = Callable[[web.Application], Awaitable[Client]]
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
def let_in() -> list[Connection]:
    """Whoever got in."""
    return []


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, directus_url: str, let_in: list[Connection]) -> Client:
    """A client of an application with this plugin alone."""
    app = app_with("auth", DIRECTUS_BASE_URL=directus_url)

    async def note(connection: Connection) -> None:
        let_in.append(connection)

    async def public(_: web.Request) -> web.Response:
        return web.Response(text="public")

    app[CONNECTED].append(note)
    app.router.add_get("/public", public)
    return await aiohttp_client(app)


async def status(client: Client, cookie: str, query: str = "", **headers: str) -> int:
    """Knock with a cookie and return the status of the answer: 101 for who is let in."""
    try:
        async with client.ws_connect(f"/ws-live{query}", headers={"Cookie": cookie, **headers}):
            return 101
    except WSServerHandshakeError as refusal:
        return refusal.status


async def test_a_live_session_gets_in_as_its_user(
    client: Client, access: Access, cookie: str, let_in: list[Connection]
) -> None:
    assert await status(client, cookie) == 101
    assert [connection.identity for connection in let_in] == [Identity(access.users[ANA].id)]
    assert access.calls_by_kind() == {"users": 1}


async def test_a_user_who_may_read_nothing_of_himself_but_the_id_gets_in(
    client: Client, access: Access, let_in: list[Connection]
) -> None:
    assert await status(client, access.sign_in(BEN)) == 101
    assert let_in[0].identity.user == access.users[BEN].id


async def test_the_name_of_the_cookie_is_the_business_of_directus(client: Client, access: Access, cookie: str) -> None:
    assert await status(client, f"theme=dark; {cookie}; b=c") == 101
    assert access.calls[0].headers["Cookie"] == f"theme=dark; {cookie}; b=c"


@pytest.mark.parametrize(
    "cookie", ["theme=dark", f"{COOKIE_NAME}=", f"{COOKIE_NAME}=garbage", f"{COOKIE_NAME}=a.b.c", "=", "x"]
)
async def test_a_foreign_or_garbage_cookie_is_nobody(client: Client, access: Access, cookie: str) -> None:
    assert await status(client, cookie) == 401
    assert len(access.calls) == 1


async def test_a_session_that_has_ended_expired_or_was_never_one_is_nobody(client: Client, access: Access) -> None:
    ended = access.sign_in(ANA)
    access.end_session(ended)
    for cookie in (ended, access.expired(ANA), access.forged(ANA), access.truncated(ANA)):
        assert await status(client, cookie) == 401
    assert problem(client.app, "directus") is None, "a no is an answer"


async def test_without_a_cookie_directus_is_not_asked(client: Client, access: Access) -> None:
    async with client.get("/ws-live", headers=UPGRADE) as response:
        assert response.status == 401
    assert access.calls == []


async def test_data_that_is_null_is_nobody(client: Client, access: Access, cookie: str) -> None:
    access.overrides["users"] = answer(200, body=b'{"data":null}')
    assert await status(client, cookie) == 401


FAILURES: Mapping[str, Handler] = {
    "429": answer(429, headers={"Retry-After": "1"}),
    "500": answer(500, body=b'{"errors":[{"extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}'),
    "503": answer(503, body=b'{"errors":[{"extensions":{"code":"SERVICE_UNAVAILABLE"}}]}'),
    "html": answer(200, body=b"<!doctype html>"),
    "404": answer(404, body=b'{"errors":[{"extensions":{"code":"ROUTE_NOT_FOUND"}}]}'),
    "400": answer(400, body=b'{"errors":[{"extensions":{"code":"INVALID_QUERY"}}]}'),
    "204": answer(204),
    "403 of a proxy": answer(403, body=b"<!doctype html>"),
    "redirect": answer(302, headers={"Location": "/login"}),
}


@pytest.mark.parametrize("override", FAILURES.values(), ids=FAILURES)
async def test_when_directus_fails_to_answer_the_client_may_come_back(
    client: Client, access: Access, cookie: str, override: Handler, let_in: list[Connection], diary: Diary
) -> None:
    access.overrides["users"] = override
    async with client.get("/ws-live", headers={**UPGRADE, "Cookie": cookie}) as response:
        assert response.status == 503
        assert 1 <= int(response.headers["Retry-After"]) <= 10
        assert cookie not in await response.text()
    assert access.calls_by_kind() == {"users": 1}, "neither repeated nor followed"
    assert problem(client.app, "directus") is not None
    assert let_in == []
    del access.overrides["users"]
    assert await status(client, cookie) == 101
    assert problem(client.app, "directus") is None
    assert diary.count(cookie) == diary.count(cookie.partition("=")[2]) == 0


async def test_directus_hears_the_clients_cookie_and_address_but_no_other_header_and_no_query(
    client: Client, access: Access, cookie: str
) -> None:
    headers = {"Authorization": "Bearer q8zz", "X-Forwarded-For": "10.0.0.1, 192.0.2.7", "X-Secret": "q8zz"}
    assert await status(client, cookie, "?access_token=q8zz&fields=*", **headers) == 101
    [call] = access.calls
    assert call.path == ME == "/users/me?fields=id,email,role,first_name,last_name"
    heard = CIMultiDict(call.headers)
    assert heard.getall("Cookie") == [cookie]
    assert heard.getall("X-Forwarded-For") == ["192.0.2.7"]
    assert "Authorization" not in heard
    assert "Origin" not in heard
    assert "q8zz" not in str(dict(heard))


async def test_without_a_proxy_the_address_is_the_peers(client: Client, access: Access, cookie: str) -> None:
    await status(client, cookie)
    assert access.calls[0].headers["X-Forwarded-For"] == "127.0.0.1"


async def test_identical_cookies_at_the_same_moment_share_one_call_and_nobody_after_them_does(
    client: Client, access: Access, cookie: str, let_in: list[Connection]
) -> None:
    gate = access.overrides["users"] = Gate()
    other = access.sign_in(BEN)
    before = metric("live_directus_calls_total", kind="users", status="200")
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        knocking = [asyncio.create_task(status(client, each)) for each in [cookie] * 10 + [other]]
        await until(lambda: gate.inside == 2)
        del access.overrides["users"]
        assert await status(client, access.sign_in(BEN)) == 101, "others need not wait"
        gate.opened.set()
        assert await asyncio.gather(*knocking) == [101] * 11
    assert [call.headers["Cookie"] for call in access.calls].count(cookie) == 1
    assert len(access.calls) == 3
    assert metric("live_directus_calls_total", kind="users", status="200") - before == 3
    assert await status(client, cookie) == 101
    access.end_session(cookie)
    assert await status(client, cookie) == 401, "nothing is cached"
    assert len(access.calls) == 5
    assert len(let_in) == 13


async def test_a_shared_failure_is_everybodys(client: Client, access: Access, cookie: str) -> None:
    access.overrides["users"] = answer(503)
    assert await asyncio.gather(*[status(client, cookie) for _ in range(5)]) == [503] * 5
    access.overrides["users"] = answer(401)
    assert await status(client, cookie) == 401


async def test_when_directus_is_silent_the_client_may_come_back(
    aiohttp_client: AiohttpClient, directus_url: str, access: Access, cookie: str
) -> None:
    client = await aiohttp_client(app_with("auth", DIRECTUS_BASE_URL=directus_url, DIRECTUS_AUTH_TIMEOUT_MS="100"))
    access.overrides["users"] = silence()
    assert await status(client, cookie) == 503
    assert "Timeout" in str(problem(client.app, "directus"))


async def test_what_is_no_handshake_needs_no_cookie(client: Client, access: Access) -> None:
    async with client.get("/public") as response:
        assert await response.text() == "public"
    assert access.calls == []


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (Answer(200, "1", None), Identity("1")),
        (Answer(200, None, None), None),
        (Answer(200, "", None), None),
        (Answer(401, None, "INVALID_CREDENTIALS"), None),
        (Answer(401, None, "TOKEN_EXPIRED"), None),
        (Answer(401, None, None), None),
        (Answer(403, None, "INVALID_TOKEN"), None),
        (Answer(403, None, "FORBIDDEN"), None),
    ],
)
def test_what_an_answer_means(said: Answer, meaning: Identity | None) -> None:
    assert identity_in(said) == meaning


@pytest.mark.parametrize("code", [100, 201, 204, 304, 400, 402, 403, 404, 405, 418])
def test_any_other_status_means_nothing(code: int) -> None:
    with pytest.raises(NoAnswerError) as caught:
        identity_in(Answer(code, EVENT if code != 403 else None, None))
    assert caught.value.status == str(code)
