"""What if nginx keeps its connections to the service, and lends one user's to another?"""

import pytest

from processor_live.endpoint import CONNECTIONS
from processor_live_demo.access import Access
from tests.core.test_handshake import UPGRADE
from tests.core.wire import metric
from tests.integration.conftest import ANA, BEN
from tests.integration.platform import Live, Platform
from tests.integration.proxies import shipped
from tests.integration.proxies.conftest import Deploy
from tests.integration.proxies.front import Front
from tests.integration.proxies.test_deployment import EVIL
from tests.running import until
from tests.servers import Database

KEEPING = {
    "worker_processes auto;": "worker_processes 1;",
    "least_conn;": "least_conn; keepalive 8;",
    "default   close;": "default   '';",
}
SMUGGLED = (
    "GET /ws-live HTTP/1.1\r\nHost: live.rally.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
)


@pytest.fixture
async def live(platform: Platform, database: Database, event: str) -> Live:
    database.register(event, "1")
    return await platform.start(LIVE_WS_MAX_CONNECTIONS_PER_USER="1")


@pytest.fixture
async def front(deploy: Deploy, live: Live) -> Front:
    return await deploy(shipped.nginx, live, changes=KEEPING)


async def test_who_comes_after_somebody_else_was_refused_is_himself(front: Front, live: Live, access: Access) -> None:
    ana, ben = access.sign_in(ANA), access.sign_in(BEN)
    await front.browser(ana)
    refusals = [
        (401, {"Cookie": access.forged(ANA)}),
        (403, {"Cookie": ana, "Origin": EVIL}),
        (426, {"Cookie": ana, "Upgrade": ""}),
        (429, {"Cookie": ana}),
    ]
    for status, headers in refusals:
        assert (await front.handshake(**headers))[0] == status
        access.calls.clear()
        viewer = await front.browser(ben)
        assert [call.headers["Cookie"] for call in access.calls] == [ben]
        assert {each.identity.user for each in live.app[CONNECTIONS]} == {access.users[ANA].id, access.users[BEN].id}
        await viewer.socket.close()
        await until(lambda: len(live.app[CONNECTIONS]) == 1)


async def test_a_body_is_no_other_handshake(front: Front, live: Live, access: Access) -> None:
    ana, ben = access.sign_in(ANA), access.sign_in(BEN)
    before = metric("live_handshakes_total", status="101")
    for headers in ({"Cookie": ana, **UPGRADE}, UPGRADE, {"Cookie": ana}):
        body = SMUGGLED.format(cookie=ben).encode()
        async with front.session.get(f"{front.url}/ws-live", headers=headers, data=body) as response:
            assert response.status == 426
    assert access.calls == []
    assert metric("live_handshakes_total", status="101") == before
    await front.browser(ana)
    assert [each.identity.user for each in live.app[CONNECTIONS]] == [access.users[ANA].id]
