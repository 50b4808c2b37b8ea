"""The stand-in answers what a real Directus 11.17 was measured to answer (docs/contract.md §6.3)."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient

from processor_live_demo.access import Access, User
from processor_live_demo.directus import answer, make_directus, silence

EVENT = "0190a000-0000-7000-8000-0000000000e1"
OTHER_EVENT = "0190a000-0000-7000-8000-0000000000e2"
ME = "/users/me?fields=id,email,role,first_name,last_name"

AiohttpClient = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def access() -> Access:
    return Access(
        [
            User(email="ana@rally.al", password="pw", events={EVENT}, role="steward", first_name="Ana"),
            User(email="ben@rally.al", password="pw", events=set(), reads_users=False),
        ]
    )


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, access: Access) -> Client:
    return await aiohttp_client(make_directus(access))


async def ask(client: Client, path: str, cookie: str | None = None) -> tuple[int, str | None, object]:
    """Return status, error code and data of an answer."""
    async with client.get(path, headers={} if cookie is None else {"Cookie": cookie}) as response:
        body = await response.json()
    code = body["errors"][0]["extensions"]["code"] if "errors" in body else None
    return response.status, code, body.get("data")


async def test_a_live_session_is_its_user(client: Client, access: Access) -> None:
    user = access.users["ana@rally.al"]
    expected = {"id": user.id, "email": "ana@rally.al", "role": "steward", "first_name": "Ana", "last_name": None}
    assert await ask(client, ME, access.sign_in("ana@rally.al")) == (200, None, expected)


async def test_only_the_fields_asked_for(client: Client, access: Access) -> None:
    cookie = access.sign_in("ana@rally.al")
    assert await ask(client, "/users/me?fields=email", cookie) == (200, None, {"email": "ana@rally.al"})


async def test_a_user_who_may_not_read_users_learns_only_the_id(client: Client, access: Access) -> None:
    user = access.users["ben@rally.al"]
    assert await ask(client, ME, access.sign_in("ben@rally.al")) == (200, None, {"id": user.id})


@pytest.mark.parametrize(
    "cookie",
    [
        None,
        "",
        "directus_session_token=",
        "theme=dark",
        "directus_session_token=garbage",
        "directus_session_token=a.b.c",
        "directus_session_token=e30.e30.e30",
    ],
)
async def test_no_or_a_foreign_cookie_is_no_user(client: Client, cookie: str | None) -> None:
    assert await ask(client, ME, cookie) == (401, "INVALID_CREDENTIALS", None)


async def test_a_logged_out_session_is_no_user(client: Client, access: Access) -> None:
    cookie = access.sign_in("ana@rally.al")
    access.end_session(cookie)
    access.end_session(cookie)
    assert await ask(client, ME, cookie) == (401, "INVALID_CREDENTIALS", None)


async def test_an_expired_session(client: Client, access: Access) -> None:
    assert await ask(client, ME, access.expired("ana@rally.al")) == (401, "TOKEN_EXPIRED", None)


async def test_a_forged_or_truncated_token(client: Client, access: Access) -> None:
    assert await ask(client, ME, access.forged("ana@rally.al")) == (403, "INVALID_TOKEN", None)
    assert await ask(client, ME, access.truncated("ana@rally.al")) == (403, "INVALID_TOKEN", None)


async def test_an_event_the_user_may_read(client: Client, access: Access) -> None:
    cookie = access.sign_in("ana@rally.al")
    assert await ask(client, f"/items/events/{EVENT}?fields=id", cookie) == (200, None, {"id": EVENT})


async def test_forbidden_and_unknown_events_have_one_body(client: Client, access: Access) -> None:
    headers = {"Cookie": access.sign_in("ben@rally.al")}
    bodies = set()
    for event in (EVENT, str(uuid.uuid4())):
        async with client.get(f"/items/events/{event}?fields=id", headers=headers) as response:
            assert response.status == 403
            bodies.add(await response.read())
    assert len(bodies) == 1
    assert b'"FORBIDDEN"' in bodies.pop()


async def test_rights_may_change_while_it_runs(client: Client, access: Access) -> None:
    cookie = access.sign_in("ana@rally.al")
    access.users["ana@rally.al"].events.remove(EVENT)
    assert await ask(client, f"/items/events/{EVENT}", cookie) == (403, "FORBIDDEN", None)


async def test_an_event_after_the_session_ended(client: Client, access: Access) -> None:
    path = f"/items/events/{EVENT}?fields=id"
    cookie = access.sign_in("ana@rally.al")
    access.end_session(cookie)
    assert await ask(client, path, cookie) == (401, "INVALID_CREDENTIALS", None)
    assert await ask(client, path, access.expired("ana@rally.al")) == (401, "TOKEN_EXPIRED", None)
    assert await ask(client, path, access.forged("ana@rally.al")) == (403, "INVALID_TOKEN", None)


async def test_an_empty_event_id_is_the_list(client: Client, access: Access) -> None:
    cookie = access.sign_in("ana@rally.al")
    assert await ask(client, "/items/events/?fields=id", cookie) == (200, None, [{"id": EVENT}])
    assert await ask(client, "/items/events?fields=id", cookie) == (200, None, [{"id": EVENT}])


async def test_nobody_has_no_list_of_events(client: Client, access: Access) -> None:
    assert await ask(client, "/items/events?fields=id") == (403, "FORBIDDEN", None)
    assert await ask(client, "/items/events?fields=id", access.expired("ana@rally.al")) == (401, "TOKEN_EXPIRED", None)


async def test_events_have_names_if_there_are_any(client: Client, access: Access) -> None:
    cookie = access.sign_in("ana@rally.al")
    assert await ask(client, "/items/events?fields=id,name", cookie) == (403, "FORBIDDEN", None)
    access.names = {EVENT: "Rally", OTHER_EVENT: "Cup"}
    assert await ask(client, "/items/events?fields=id,name", cookie) == (200, None, [{"id": EVENT, "name": "Rally"}])
    assert await ask(client, "/items/events?fields=id,date", cookie) == (403, "FORBIDDEN", None)


async def test_a_malformed_event_id_is_an_internal_error(client: Client, access: Access) -> None:
    cookie = access.sign_in("ana@rally.al")
    assert await ask(client, "/items/events/1", cookie) == (500, "INTERNAL_SERVER_ERROR", None)


async def test_calls_are_recorded_as_they_came(client: Client, access: Access) -> None:
    headers = {"Cookie": "a=1; b=2", "X-Forwarded-For": "203.0.113.7"}
    async with client.get(ME, headers=headers):
        pass
    await ask(client, f"/items/events/{EVENT}")
    (call, _) = access.calls
    assert call.path == ME
    assert call.headers["cookie"] == "a=1; b=2"
    assert call.headers["x-forwarded-for"] == "203.0.113.7"
    assert "authorization" not in call.headers
    assert access.calls_by_kind() == {"users": 1, "events": 1}


async def test_an_override_answers_instead_until_it_is_removed(client: Client, access: Access) -> None:
    access.overrides["users"] = answer(429, headers={"Retry-After": "1"}, body=b"slow down")
    cookie = access.sign_in("ana@rally.al")
    async with client.get(ME, headers={"Cookie": cookie}) as response:
        assert (response.status, response.headers["Retry-After"], await response.read()) == (429, "1", b"slow down")
    assert (await ask(client, f"/items/events/{EVENT}", cookie))[0] == 200
    del access.overrides["users"]
    assert (await ask(client, ME, cookie))[0] == 200


async def test_silence_is_no_answer(client: Client, access: Access) -> None:
    access.overrides["events"] = silence()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await ask(client, f"/items/events/{EVENT}")
    assert access.calls_by_kind() == {"events": 1}


async def test_silence_does_not_delay_the_shutdown(client: Client, access: Access) -> None:
    asked = asyncio.Event()

    async def say_when_asked(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await silence()(request)

    access.overrides["events"] = say_when_asked
    silent = asyncio.ensure_future(ask(client, f"/items/events/{EVENT}"))
    async with asyncio.timeout(5):
        await asked.wait()
        await client.server.close()
        with pytest.raises(ClientError):
            await silent


async def test_a_login_sets_the_session_cookie(client: Client) -> None:
    credentials = {"email": "ana@rally.al", "password": "pw", "mode": "session"}
    async with client.post("/auth/login", json=credentials) as response:
        assert response.status == 200
        cookie = response.cookies["directus_session_token"]
        assert (cookie["path"], cookie["httponly"]) == ("/", True)
    assert (await ask(client, ME, f"directus_session_token={cookie.value}"))[0] == 200
    async with client.post("/auth/logout", json={"mode": "session"}) as response:
        assert response.status == 204
    assert (await ask(client, ME, f"directus_session_token={cookie.value}"))[0] == 401


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"email": "ana@rally.al", "password": "wrong"}', 401, b"INVALID_CREDENTIALS"),
        (b'{"email": "nobody@rally.al", "password": "pw"}', 401, b"INVALID_CREDENTIALS"),
        (b'{"email": "ana@rally.al"}', 400, b"INVALID_PAYLOAD"),
        (b"[]", 400, b"INVALID_PAYLOAD"),
        (b"{", 400, b"INVALID_PAYLOAD"),
    ],
)
async def test_a_login_is_refused(client: Client, body: bytes, status: int, code: bytes) -> None:
    async with client.post("/auth/login", data=body, headers={"Content-Type": "application/json"}) as response:
        assert response.status == status
        assert code in await response.read()


async def test_a_person_signs_in_with_a_form(client: Client) -> None:
    async with client.get("/login") as response:
        assert "Signed out." in await response.text()
    async with client.post("/auth/login", data={"email": "ana@rally.al", "password": "pw"}) as response:
        assert "Signed in as ana@rally.al." in await response.text()


async def test_who_has_signed_in_with_a_form_goes_where_the_demo_wants(
    aiohttp_client: AiohttpClient, access: Access
) -> None:
    client = await aiohttp_client(make_directus(access, landing="/map#1"))
    form = {"email": "ana@rally.al", "password": "pw"}
    async with client.post("/auth/login", data=form, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/map#1")


async def test_the_sign_in_page_has_a_button_for_each_user_and_shows_what_is_open_to_whom(
    client: Client, access: Access
) -> None:
    access.names = {EVENT: "Rally <1>", OTHER_EVENT: "Cup"}
    async with client.get("/login", headers={"Cookie": access.sign_in("ana@rally.al")}) as response:
        page = await response.text()
    for email in access.users:
        assert f'name="email" value="{email}"' in page
    assert "password pw; may watch Rally &lt;1&gt;<" in page
    links = re.findall(r'href="/map#([^"]+)".*?<p class="soft">([^<;]+)', page)
    assert links == [(EVENT, "open to you"), (OTHER_EVENT, "not open to you")]


async def test_another_path_is_not_found(client: Client) -> None:
    assert await ask(client, "/items/devices") == (404, "ROUTE_NOT_FOUND", None)
