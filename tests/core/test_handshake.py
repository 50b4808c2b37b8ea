"""Whoever may not have a WebSocket is told why in plain HTTP, in the order of docs/contract.md §1."""

import asyncio
from http import HTTPStatus

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from processor_live.handshake import Handler, client_address, cookie_of
from processor_live.health import HEALTH
from tests.core.door import COOKIE, Browser, Start, vouch
from tests.core.wire import metric

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def status(browser: Browser, *headers: dict[str, str] | CIMultiDict[str], path: str = "/ws-live") -> int:
    """Ask for a WebSocket and return the status of the answer."""
    asked = CIMultiDict[str]()
    for some in headers:
        asked.extend(some)
    async with browser.get(path, headers=asked) as response:
        if response.status != HTTPStatus.SWITCHING_PROTOCOLS:
            assert (await response.text()).strip(), "a refusal says why"
        return response.status


@pytest.mark.parametrize("path", ["/ws-live", "/"])
async def test_both_paths_lead_to_a_websocket(start: Start, path: str) -> None:
    browser, before = await start(), metric("live_handshakes_total", status="101")
    async with browser.ws_connect(path, headers=COOKIE) as socket:
        assert socket.protocol is None
    assert metric("live_handshakes_total", status="101") - before == 1


async def test_the_subprotocol_is_echoed_to_those_who_offer_it(start: Start) -> None:
    browser = await start()
    async with browser.ws_connect("/ws-live", headers=COOKIE, protocols=("other", "live.v1")) as socket:
        assert socket.protocol == "live.v1"


@pytest.mark.parametrize(
    "missing", [{"Upgrade": "h2c"}, {"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Key": "short"}, {"Connection": "x"}]
)
async def test_what_is_no_websocket_upgrade_is_told_what_is(start: Start, missing: dict[str, str]) -> None:
    browser, before = await start(), metric("live_handshakes_total", status="426")
    async with browser.get("/ws-live", headers={**UPGRADE, **COOKIE, **missing}) as response:
        assert response.status == 426
        assert response.headers["Upgrade"] == "websocket"
    assert metric("live_handshakes_total", status="426") - before == 1


async def test_the_first_check_that_fails_is_the_answer(start: Start) -> None:
    browser = await start(LIVE_WS_MAX_CONNECTIONS="1")
    evil = {"Origin": "https://evil.example"}
    assert await status(browser, UPGRADE) == 401
    assert await status(browser, UPGRADE, evil) == 403
    async with browser.ws_connect("/ws-live", headers=COOKIE):
        assert await status(browser, UPGRADE, evil) == 503
        assert await status(browser, evil) == 426
    assert browser.server is not None
    assert browser.app is not None
    browser.app[HEALTH].draining = True
    assert await status(browser, UPGRADE, COOKIE) == 503
    assert await status(browser, evil) == 426


async def test_who_is_refused_for_lack_of_room_is_told_when_to_come_back(start: Start) -> None:
    browser = await start(LIVE_WS_MAX_CONNECTIONS="1")
    async with browser.ws_connect("/ws-live", headers=COOKIE):
        later = set()
        for _ in range(30):
            async with browser.get("/ws-live", headers={**UPGRADE, **COOKIE}) as response:
                assert response.status == 503
                later.add(int(response.headers["Retry-After"]))
    assert later <= set(range(1, 11))
    assert len(later) > 1, "not all at the same time"
    async with browser.ws_connect("/ws-live", headers=COOKIE):
        pass


async def test_a_handshake_under_way_has_a_seat(start: Start) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    @web.middleware
    async def slow(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked.set()
        await gate.wait()
        return await vouch(request, handler)

    browser = await start(slow, LIVE_WS_MAX_CONNECTIONS="1")
    first = asyncio.create_task(browser.ws_connect("/ws-live", headers=COOKIE).__aenter__())
    await asked.wait()
    assert await status(browser, UPGRADE, COOKIE) == 503
    gate.set()
    await (await first).close()


async def test_without_a_cookie_no_plugin_is_asked(start: Start) -> None:
    asked = []

    @web.middleware
    async def spy(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked.append(request.path)
        return await vouch(request, handler)

    browser = await start(spy)
    assert await status(browser, UPGRADE) == 401
    assert asked == []


async def test_when_no_plugin_vouches_nobody_is_let_in(start: Start) -> None:
    @web.middleware
    async def indifferent(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request)

    browser = await start(indifferent)
    assert await status(browser, UPGRADE, COOKIE) == 401


@pytest.mark.parametrize("raised", [False, True], ids=["returned", "raised"])
async def test_a_plugins_refusal_is_counted_by_its_status(start: Start, raised: bool) -> None:  # noqa: FBT001 - a case
    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if raised:
            raise web.HTTPUnauthorized
        return web.Response(status=401, text=f"no {handler} for {request}")

    browser, before = await start(refuse), metric("live_handshakes_total", status="401")
    assert await status(browser, UPGRADE, COOKIE) == 401
    assert metric("live_handshakes_total", status="401") - before == 1


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_a_plugin_that_breaks_costs_one_handshake_which_is_counted_and_its_seat_is_free_again(
    start: Start, error: type[BaseException]
) -> None:
    @web.middleware
    async def break_down(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "broken" in request.query:
            raise error
        return await vouch(request, handler)

    browser = await start(break_down, LIVE_WS_MAX_CONNECTIONS="1")
    before = metric("live_handshakes_total", status="500")
    assert await status(browser, UPGRADE, COOKIE, path="/ws-live?broken") == 500
    assert metric("live_handshakes_total", status="500") - before == 1
    assert await status(browser, UPGRADE, COOKIE) == 101


async def test_one_user_has_so_many_connections_another_has_their_own(start: Start) -> None:
    browser = await start(LIVE_WS_MAX_CONNECTIONS_PER_USER="1")
    ana, ben = {"User": "ana", **COOKIE}, {"User": "ben", **COOKIE}
    async with browser.ws_connect("/ws-live", headers=ana), browser.ws_connect("/ws-live", headers=ben):
        assert await status(browser, UPGRADE, ana) == 429
    async with browser.ws_connect("/ws-live", headers=ana):
        pass


async def test_other_paths_are_not_the_endpoints_business(start: Start) -> None:
    browser = await start()
    assert await status(browser, UPGRADE, path="/nowhere") == 404
    async with browser.head("/ws-live") as response:
        assert response.status == 405


LISTED = "https://app.rally.al,http://localhost:3000,https://other.rally.al:443,http://plain.rally.al:80"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://live.rally.al", "live.rally.al"),
        ("http://live.rally.al", "live.rally.al"),
        ("https://live.rally.al:443", "live.rally.al"),
        ("https://live.rally.al", "live.rally.al:443"),
        ("https://LIVE.rally.al", "live.Rally.AL"),
        ("http://localhost:5173", "localhost:5173"),
        ("http://[::1]:8081", "[::1]:8081"),
        ("https://app.rally.al", "live.rally.al"),
        ("https://APP.rally.al", "live.rally.al"),
        ("http://localhost:3000", "live.rally.al"),
        ("https://app.rally.al:443", "live.rally.al"),
        ("https://other.rally.al", "live.rally.al"),
        ("http://plain.rally.al", "live.rally.al"),
    ],
)
async def test_the_hosts_own_origin_and_those_listed_may_connect(start: Start, origin: str, host: str) -> None:
    browser = await start(LIVE_WS_ALLOWED_ORIGINS=LISTED)
    assert await status(browser, UPGRADE, COOKIE, {"Origin": origin, "Host": host}) == 101


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.al",
        "https://live.rally.al.evil.al",
        "https://evil.al/live.rally.al",
        "https://evil.al?live.rally.al",
        "https://evil.al#@live.rally.al",
        "https://evil.al\\@live.rally.al",
        "https://live.rally.al@evil.al",
        "https://live.rally.al:8443",
        "https://live.rally.al:port",
        "https://live.rally.al:99999",
        "https://[live.rally.al",
        "https://",
        "https://:443",
        "live.rally.al",
        "file://live.rally.al",
        "http://app.rally.al",
        "https://app.rally.al:8443",
        "https://app.rally.al:80",
        "http://app.rally.al:443",
        "https://app.rally.al:443:443",
        "https://app.rally.al:4430",
        "null",
        "",
    ],
)
async def test_no_other_origin_may_connect(start: Start, origin: str) -> None:
    browser = await start(LIVE_WS_ALLOWED_ORIGINS="https://app.rally.al")
    assert await status(browser, UPGRADE, COOKIE, {"Origin": origin, "Host": "live.rally.al"}) == 403


async def test_two_origins_are_none_to_be_trusted(start: Start) -> None:
    browser = await start()
    twice = CIMultiDict([("Origin", "https://live.rally.al")] * 2)
    assert await status(browser, UPGRADE, COOKIE, twice, {"Host": "live.rally.al"}) == 403


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], "192.0.2.7"),
        (["203.0.113.5"], "203.0.113.5"),
        (["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
        (["198.51.100.1", "203.0.113.5"], "203.0.113.5"),
        (["2001:DB8:0::1"], "2001:db8::1"),
        (["203.0.113.5, unknown"], "192.0.2.7"),
        (["203.0.113.5, "], "192.0.2.7"),
        (["<script>"], "192.0.2.7"),
    ],
)
def test_the_clients_address_is_what_the_nearest_proxy_saw(forwarded: list[str], address: str) -> None:
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    assert client_address(make_mocked_request("GET", "/", headers).clone(remote="192.0.2.7")) == address


@pytest.mark.parametrize(
    ("sent", "cookie"), [([], ""), (["a=1; b=2"], "a=1; b=2"), (["a=1", "b=2"], "a=1; b=2"), (['a="ë;"'], 'a="ë;"')]
)
def test_the_cookie_is_the_raw_header(sent: list[str], cookie: str) -> None:
    assert cookie_of(make_mocked_request("GET", "/", CIMultiDict([("Cookie", value) for value in sent]))) == cookie
