"""Directus and the live channel come from one origin, as behind the reverse proxy of a deployment."""

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from processor_live_demo.access import Access, User
from processor_live_demo.directus import answer, make_directus
from tests.running import app_with

EVENT = "0190a000-0000-7000-8000-0000000000e1"
PROXY = "processor_live_demo.proxy:setup"

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def access() -> Access:
    return Access([User(email="ana@rally.al", password="pw", events={EVENT})])


@pytest.fixture
async def directus(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], access: Access) -> TestServer:
    return await aiohttp_server(make_directus(access, landing="/map"))


@pytest.fixture
async def client(aiohttp_client: Callable[[web.Application], Awaitable[Client]], directus: TestServer) -> Client:
    return await aiohttp_client(app_with(PROXY, DIRECTUS_BASE_URL=str(directus.make_url("")).rstrip("/")))


async def test_a_person_signs_in_and_asks_directus_at_the_services_origin(client: Client, access: Access) -> None:
    async with client.get("/login") as response:
        assert "Who are you?" in await response.text()
    form = {"email": "ana@rally.al", "password": "pw"}
    async with client.post("/auth/login", data=form, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/map")
        assert response.cookies["directus_session_token"]["httponly"]
    async with client.get("/items/events?fields=id&limit=-1") as response:
        assert await response.json() == {"data": [{"id": EVENT}]}
    async with client.get("/users/me?fields=id") as response:
        assert response.status == 200
    assert [call.path for call in access.calls] == ["/items/events?fields=id&limit=-1", "/users/me?fields=id"]
    assert {call.headers["X-Forwarded-For"] for call in access.calls} == {"127.0.0.1"}


async def test_an_answer_comes_as_it_is(client: Client, access: Access) -> None:
    access.overrides["users"] = answer(429, headers={"Retry-After": "1"}, body=b"slow down")
    async with client.get("/users/me") as response:
        assert (response.status, response.headers["Retry-After"], await response.read()) == (429, "1", b"slow down")


async def test_what_is_not_directuss_business_is_the_services(client: Client) -> None:
    for path, status in (("/", 426), ("/ws-live", 426), ("/server/info", 404)):
        async with client.get(path) as response:
            assert response.status == status, path


async def test_when_directus_is_away_that_is_said(client: Client, directus: TestServer) -> None:
    await directus.close()
    async with client.get("/users/me") as response:
        assert response.status == 502
