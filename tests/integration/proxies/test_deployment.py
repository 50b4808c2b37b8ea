"""Does the whole path work behind the proxies whose configuration is shipped, as a browser takes it?"""

import asyncio

import pytest
from aiohttp import WSServerHandshakeError

from processor_live.endpoint import drain
from processor_live_demo.access import Access
from processor_live_demo.directus import answer
from tests.integration.conftest import ANA, BEN
from tests.integration.platform import Live, Platform, now_ms
from tests.integration.proxies import shipped
from tests.integration.proxies.conftest import Deploy
from tests.integration.proxies.front import ADDRESS, Front
from tests.integration.proxies.shipped import PAGE, Changes, Proxy
from tests.servers import Database

EVIL = "https://evil.example"
IMEIS = ["1", "2", "3"]


@pytest.fixture
async def live(platform: Platform, database: Database, event: str) -> Live:
    database.register(event, *IMEIS)
    return await platform.start()


@pytest.fixture
async def front(deploy: Deploy, proxy: Proxy, live: Live) -> Front:
    return await deploy(proxy, live)


async def test_who_signs_in_on_the_page_follows_the_rally_all_on_one_origin(
    front: Front, platform: Platform, access: Access, event: str, topic: str
) -> None:
    assert await front.page() == PAGE
    cookie = await front.sign_in(ANA)
    async with front.session.get(f"{front.url}/items/events/{event}", headers={"Cookie": cookie}) as response:
        assert (await response.json())["data"]["id"] == event
    access.calls.clear()
    viewer = await front.browser(cookie)
    assert await viewer.snapshot(topic) == {}
    ts = now_ms()
    await platform.trackers.report("1", ts)
    assert (await viewer.position())["ts"] == ts
    assert access.calls_by_kind() == {"users": 1, "events": 1}


@pytest.mark.parametrize(
    ("proxy", "changes"),
    [
        (shipped.nginx, {"proxy_pass http://live;": "proxy_pass http://live/;"}),
        (shipped.caddy, {"handle /ws-live": "handle_path /ws-live"}),
    ],
    ids=["nginx", "caddy"],
)
async def test_the_prefix_may_be_stripped(
    deploy: Deploy, proxy: Proxy, changes: Changes, live: Live, cookie: str, topic: str
) -> None:
    front = await deploy(proxy, live, changes=changes)
    assert await (await front.browser(cookie)).snapshot(topic) == {}


async def test_directus_hears_the_address_that_the_proxy_has_seen_not_the_one_that_is_claimed(
    front: Front, access: Access, event: str, cookie: str, topic: str
) -> None:
    claim = "10.9.9.9, 203.0.113.7"
    viewer = await front.browser(cookie, X_Forwarded_For=claim)
    await viewer.snapshot(topic)
    headers = {"Cookie": cookie, "X-Forwarded-For": claim}
    async with front.session.get(f"{front.url}/items/events/{event}", headers=headers) as response:
        assert response.status == 200
    assert [call.headers["X-Forwarded-For"] for call in access.calls] == [ADDRESS] * 3


async def test_directus_is_not_offered_another_protocol_than_http(
    front: Front, access: Access, event: str, cookie: str
) -> None:
    headers = {"Cookie": cookie, "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}
    async with front.session.get(f"{front.url}/items/events/{event}", headers=headers) as response:
        assert response.status == 200
    (call,) = access.calls
    assert "Upgrade" not in call.headers or call.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("proxy", "changes"),
    [
        (shipped.nginx, {"proxy_set_header Host $http_host;": ""}),
        (shipped.caddy, {"lb_policy least_conn": "lb_policy least_conn\nheader_up Host {upstream_hostport}"}),
    ],
    ids=["nginx", "caddy"],
)
async def test_a_proxy_that_rewrites_host_lets_nobody_in_whose_origin_is_not_listed(
    deploy: Deploy, proxy: Proxy, changes: Changes, platform: Platform, access: Access, cookie: str
) -> None:
    live = await platform.start()
    front = await deploy(proxy, live, changes=changes)
    for origin in (front.url, EVIL):
        assert (await front.handshake(Cookie=cookie, Origin=origin))[0] == 403
    assert access.calls == []
    listed = await deploy(proxy, await platform.start(LIVE_WS_ALLOWED_ORIGINS="https://rally.example"), changes=changes)
    await listed.browser(cookie, Origin="https://rally.example")
    assert (await listed.handshake(Cookie=cookie, Origin=EVIL))[0] == 403


async def test_refusals_come_through_as_they_are(
    deploy: Deploy, proxy: Proxy, platform: Platform, access: Access
) -> None:
    live = await platform.start(LIVE_WS_MAX_CONNECTIONS="2", LIVE_WS_MAX_CONNECTIONS_PER_USER="1")
    front, ana, ben = await deploy(proxy, live), access.sign_in(ANA), access.sign_in(BEN)
    async with front.session.get(f"{front.url}/ws-live", headers={"Cookie": ana}) as response:
        assert (response.status, response.headers["Sec-WebSocket-Version"]) == (426, "13")
    assert await refused(front, Cookie=ana, Origin=EVIL) == (403, False)
    assert await refused(front, Origin=front.url) == (401, False)
    assert access.calls == []
    assert await refused(front, Cookie=access.forged(ANA)) == (401, False)
    access.overrides["users"] = answer(500)
    assert await refused(front, Cookie=ana) == (503, True)
    del access.overrides["users"]
    await front.browser(ana)
    assert await refused(front, Cookie=ana) == (429, False)
    await front.browser(ben)
    assert await refused(front, Cookie=ben) == (503, True)


async def refused(front: Front, **headers: str) -> tuple[int, bool]:
    """Return the status of a refusal, and whether it says when to come back."""
    status, answered, text = await front.handshake(**headers)
    assert text.endswith("\n"), "it is the service's own"
    return status, 1 <= int(answered.get("Retry-After", "0")) <= 10


async def test_a_stop_says_goodbye_to_viewers_and_come_back_to_who_arrives(
    front: Front, live: Live, cookie: str
) -> None:
    viewer = await front.browser(cookie)
    async with asyncio.TaskGroup() as group:
        group.create_task(drain(live.app))
        closed = group.create_task(viewer.close_code())
    assert closed.result() == 1012
    assert await refused(front, Cookie=cookie) == (503, True)


async def test_compressed_positions_come_through_as_they_are(
    front: Front, platform: Platform, cookie: str, topic: str
) -> None:
    viewer = await front.browser(cookie, compress=15)
    assert viewer.socket.compress == 15
    await viewer.snapshot(topic)
    start, steps = now_ms(), 200
    await platform.trackers.drive(IMEIS, start, steps)
    for imei in IMEIS:
        await viewer.until(imei, start + steps - 1)


async def test_a_cookie_of_7_kb_reaches_directus_whole(front: Front, access: Access, cookie: str) -> None:
    large = f"{cookie}; filler={'x' * 7_000}"
    await front.browser(large)
    assert [call.headers["Cookie"] for call in access.calls] == [large]


async def test_a_cookie_of_16_kb_is_refused_without_being_repeated(front: Front, access: Access, cookie: str) -> None:
    with pytest.raises(WSServerHandshakeError) as refusal:
        await front.browser(f"{cookie}; filler={'x' * 16_000}")
    assert refusal.value.status == 400
    assert access.calls == []
    assert cookie not in front.proxy.log.read_text(encoding="utf-8")
