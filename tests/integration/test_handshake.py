"""Who gets in? Every check of docs/contract.md §1, in its order, against a Directus that answers as measured."""

import asyncio

import pytest
from aiohttp import WSServerHandshakeError, web

from processor_live.endpoint import drain
from processor_live_demo.access import Access, Handler
from processor_live_demo.directus import answer, silence
from tests.integration.platform import Live, Platform


@pytest.fixture
async def live(platform: Platform, event: str) -> Live:
    platform.database.register(event, "1")  # an empty rally would be degraded
    return await platform.start(DIRECTUS_AUTH_TIMEOUT_MS="300")


async def test_a_plain_request_is_told_to_upgrade(live: Live, access: Access, cookie: str) -> None:
    for path in ("/ws-live", "/"):
        async with live.session.get(live.url + path, headers={"Cookie": cookie}) as response:
            assert response.status == 426
            assert response.headers["Upgrade"] == "websocket"
    status, headers, _ = await live.handshake(Cookie=cookie, Sec_WebSocket_Version="8")
    assert (status, headers["Sec-WebSocket-Version"]) == (426, "13")
    assert access.calls == []


async def test_both_paths_upgrade_and_nothing_else_does(live: Live, cookie: str) -> None:
    for path in ("/ws-live", "/"):
        async with live.session.ws_connect(live.url + path, headers={"Cookie": cookie}) as socket:
            assert not socket.closed
    with pytest.raises(WSServerHandshakeError) as refused:
        await live.session.ws_connect(f"{live.url}/other", headers={"Cookie": cookie})
    assert refused.value.status == 404


async def test_no_cookie_is_refused_without_asking_directus(live: Live, access: Access) -> None:
    assert (await live.handshake())[0] == 401
    assert (await live.handshake(Cookie=""))[0] == 401
    assert access.calls == []


async def test_dead_forged_expired_and_foreign_sessions_are_refused(live: Live, access: Access, cookie: str) -> None:
    access.end_session(cookie)
    user = "ana@rally.al"
    for bad in (cookie, access.forged(user), access.expired(user), access.truncated(user), "theme=dark"):
        assert (await live.handshake(Cookie=bad))[0] == 401, bad
    assert access.calls_by_kind() == {"users": 5}


async def test_a_user_without_data_is_nobody(live: Live, access: Access, cookie: str) -> None:
    access.overrides["users"] = answer(200, body=b'{"data": null}')
    assert (await live.handshake(Cookie=cookie))[0] == 401


@pytest.mark.parametrize(
    "override",
    [
        answer(500, body=b'{"errors":[{"message":"x","extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}'),
        answer(503, body=b'{"errors":[{"message":"x","extensions":{"code":"SERVICE_UNAVAILABLE"}}]}'),
        answer(429, headers={"Retry-After": "1"}),
        answer(200, body=b"<!doctype html>"),
        answer(200, body=b'{"data": {}}'),
        answer(200, body=b'{"data": {"id": "' + b"x" * 100_000 + b'"}}'),
        answer(302, headers={"Location": "/users/me"}),
        answer(403, body=b"<h1>Forbidden</h1>"),
        silence(),
    ],
    ids=["500", "503", "429", "HTML", "no id", "huge", "redirect", "a proxy's 403", "silence"],
)
async def test_a_directus_that_fails_to_answer_means_try_again(
    live: Live, access: Access, cookie: str, override: Handler
) -> None:
    access.overrides["users"] = override
    status, headers, text = await live.handshake(Cookie=cookie)
    assert status == 503
    assert 1 <= int(headers["Retry-After"]) <= 10
    assert "try again" in text
    assert len(access.calls) == 1
    assert (await live.until("degraded"))["checks"]["directus"].startswith("users: ")
    del access.overrides["users"]
    await live.viewer(cookie)
    await live.until("ready")


async def test_a_directus_that_is_gone_means_try_again(platform: Platform, cookie: str) -> None:
    live = await platform.start(DIRECTUS_BASE_URL="http://127.0.0.1:1")
    assert (await live.handshake(Cookie=cookie))[0] == 503


async def test_foreign_origins_are_refused_before_directus_is_asked(
    platform: Platform, access: Access, cookie: str
) -> None:
    live = await platform.start(LIVE_WS_ALLOWED_ORIGINS="https://map.rally.example")
    own = live.url.removeprefix("http://")
    foreign = ("https://evil.example", f"http://{own}.evil.example", "null", f"http://{own.partition(':')[0]}", "")
    for origin in foreign:
        assert (await live.handshake(Cookie=cookie, Origin=origin))[0] == 403, origin
    assert access.calls == []
    for origin in (f"http://{own}", f"https://{own}", "https://map.rally.example", "https://MAP.rally.example"):
        await live.viewer(cookie, headers={"Origin": origin})


async def test_the_checks_come_in_the_contracts_order(platform: Platform, access: Access) -> None:
    live = await platform.start(LIVE_WS_MAX_CONNECTIONS="1", LIVE_WS_MAX_CONNECTIONS_PER_USER="1")
    first = await live.viewer(access.sign_in("ana@rally.al"))
    async with live.session.get(f"{live.url}/ws-live", headers={"Origin": "https://evil.example"}) as response:
        assert response.status == 426
    status, headers, _ = await live.handshake(Origin="https://evil.example")
    assert (status, "Retry-After" in headers) == (503, True)
    await first.socket.close()
    assert (await live.handshake(Origin="https://evil.example"))[0] == 403
    assert (await live.handshake())[0] == 401
    assert access.calls_by_kind() == {"users": 1}


async def test_a_user_has_only_so_many_connections(platform: Platform, access: Access) -> None:
    live = await platform.start(LIVE_WS_MAX_CONNECTIONS_PER_USER="2")
    ana = access.sign_in("ana@rally.al")
    viewers = [await live.viewer(ana), await live.viewer(access.sign_in("ana@rally.al"))]
    assert (await live.handshake(Cookie=ana))[0] == 429
    await live.viewer(access.sign_in("ben@rally.al"))
    await viewers[0].socket.close()
    await live.viewer(ana)


async def test_a_draining_server_takes_nobody(live: Live, access: Access, cookie: str) -> None:
    viewer = await live.viewer(cookie)
    async with asyncio.TaskGroup() as group:
        closed = group.create_task(viewer.close_code())
        group.create_task(drain(live.app))
    assert closed.result() == 1012
    status, headers, _ = await live.handshake(Cookie=cookie)
    assert (status, "Retry-After" in headers) == (503, True)
    assert await live.readiness() == (503, {"status": "draining", "checks": (await live.readiness())[1]["checks"]})
    assert access.calls_by_kind() == {"users": 1}


async def test_identical_cookies_at_the_same_moment_share_one_call_and_none_later(
    live: Live, access: Access, cookie: str
) -> None:
    together = 5
    arrived, let_go = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await let_go.wait()
        return await answer(200, body=b'{"data": {"id": "ana"}}')(request)

    access.overrides["users"] = slowly
    async with asyncio.TaskGroup() as group:
        for _ in range(together):
            group.create_task(live.viewer(cookie))
        await arrived.wait()
        group.create_task(_let_go_when_all_wait(live, together, let_go))
    assert access.calls_by_kind() == {"users": 1}
    await live.viewer(cookie)
    assert access.calls_by_kind() == {"users": 2}


async def _let_go_when_all_wait(live: Live, viewers: int, let_go: asyncio.Event) -> None:
    """Each of these requests is behind the viewers' handshakes on the loop that serves them all."""
    for _ in range(viewers):
        await live.readiness()
    let_go.set()


async def test_directus_is_asked_with_the_cookie_as_it_came_and_nothing_else_of_the_client(
    live: Live, access: Access, cookie: str
) -> None:
    raw = f'theme=dark; {cookie}; odd="a b"'
    headers = {"Cookie": raw, "Authorization": "Bearer secret", "X-Forwarded-For": "10.9.9.9, 203.0.113.7"}
    async with live.session.ws_connect(f"{live.url}/ws-live?access_token=secret", headers=headers):
        (call,) = access.calls
    assert call.path == "/users/me?fields=id,email,role,first_name,last_name"
    assert call.headers["Cookie"] == raw
    assert call.headers["X-Forwarded-For"] == "203.0.113.7"
    assert "Authorization" not in call.headers


async def test_the_subprotocol_is_echoed_when_offered(live: Live, cookie: str) -> None:
    assert (await live.viewer(cookie)).socket.protocol is None
    assert (await live.viewer(cookie, protocols=["live.v1", "other"])).socket.protocol == "live.v1"


async def test_without_an_authentication_plugin_nobody_gets_in(platform: Platform, cookie: str) -> None:
    live = await platform.start(LIVE_PLUGINS="authorization,routing,snapshot,fanout")
    status, _, text = await live.handshake(Cookie=cookie)
    assert status == 401
    assert "authentication plugin" in text


async def test_health_stays_reachable_when_the_server_is_full(platform: Platform, cookie: str) -> None:
    live = await platform.start(LIVE_WS_MAX_CONNECTIONS="1")
    viewer = await live.viewer(cookie)
    assert (await live.handshake(Cookie=cookie))[0] == 503
    assert (await live.readiness())[0] == 200
    assert not viewer.socket.closed


async def test_no_cookie_ever_reaches_the_log(
    platform: Platform, access: Access, cookie: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "processor_live")
    live = await platform.start(LOG_LEVEL="debug")
    viewer = await live.viewer(cookie)
    access.overrides["events"] = answer(500)
    access.overrides["users"] = answer(500)
    await viewer.ask("subscribe", "event:6f1c5c0e-0000-4000-8000-000000000000")
    await live.handshake(Cookie=cookie)
    assert "check.failing" in caplog.text
    token = cookie.partition("=")[2]
    assert token not in caplog.text
    assert token not in str(await live.readiness())
