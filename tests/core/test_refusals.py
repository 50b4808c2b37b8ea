"""Who is refused is hung up on: nothing that came behind the handshake is taken for another one."""

from contextlib import suppress

import pytest
from aiohttp import web

from processor_live.endpoint import CONNECTIONS
from processor_live.handshake import Handler, is_handshake
from processor_live.health import HEALTH
from tests.core.door import Browser, Start, vouch
from tests.core.stranger import UPGRADE, strangers
from tests.core.wire import metric

HOST, COOKIE = "Host: live.rally.al", "Cookie: session=1"
GET = "GET /ws-live HTTP/1.1"
REFUSED = {
    401: (GET, HOST, *UPGRADE),
    402: (GET, HOST, *UPGRADE, COOKIE, "User: poor"),
    403: (GET, HOST, *UPGRADE, COOKIE, "Origin: http://evil.example"),
    426: (GET, HOST, *UPGRADE[:2], UPGRADE[3], "Sec-WebSocket-Version: 8", COOKIE),
    429: (GET, HOST, *UPGRADE, COOKIE, "User: busy"),
    503: (GET, HOST, *UPGRADE, COOKIE),
}
SMUGGLED = "\r\n".join((GET, HOST, *UPGRADE, "Cookie: session=smuggled", "", "")).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
LENGTH = f"Content-Length: {len(SMUGGLED)}"


@web.middleware
async def turn_away(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse as a plugin may, with one of aiohttp's exceptions."""
    if is_handshake(request) and request.headers.get("User") == "poor":
        raise web.HTTPPaymentRequired
    return await handler(request)


@pytest.fixture
async def browser(start: Start) -> Browser:
    return await start(turn_away, vouch, LIVE_WS_MAX_CONNECTIONS_PER_USER="1")


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize(
    ("status", "lines", "behind"),
    [
        *(
            pytest.param(status, lines, behind, id=f"{status} and {what}")
            for status, lines in REFUSED.items()
            for what, behind in {"a request": SMUGGLED, "a frame": b"\x81\x85\0\0\0\0hello", "nonsense": b"x"}.items()
        ),
        pytest.param(426, (*REFUSED[503], LENGTH), SMUGGLED, id="a body"),
        pytest.param(426, (*REFUSED[503], LENGTH), SMUGGLED + SMUGGLED, id="a body and a request"),
        pytest.param(426, (*REFUSED[503], "Transfer-Encoding: chunked"), CHUNKED, id="chunks"),
    ],
)
async def test_what_comes_behind_a_refused_handshake_is_no_other(
    browser: Browser,
    caplog: pytest.LogCaptureFixture,
    status: int,
    lines: tuple[str, ...],
    behind: bytes,
    *,
    late: bool,
) -> None:
    assert browser.port is not None
    assert browser.app is not None
    async with browser.ws_connect("/ws-live", headers={"Cookie": "session=1", "User": "busy"}):
        browser.app[HEALTH].draining = status == 503
        before = metric("live_handshakes_total", status="101")
        async with strangers(browser.port) as (stranger,):
            if late:
                assert await stranger.request(*lines) == status
                with suppress(ConnectionError):  # it may have hung up
                    await stranger.send(behind)
            else:
                assert await stranger.request(*lines, b"\r\n" + behind) == status
            assert stranger.header("Connection") == "close"
            assert b"HTTP/1.1" not in await stranger.rest()
        assert metric("live_handshakes_total", status="101") == before
        assert len(browser.app[CONNECTIONS]) == 1
    assert [record for record in caplog.records if record.name != "processor_live.doorman"] == []


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param(("GET /nowhere HTTP/1.1", HOST, *UPGRADE), 404, id="404"),
        pytest.param(("POST /ws-live HTTP/1.1", HOST, *UPGRADE, "Content-Length: 0"), 405, id="405"),
    ],
)
async def test_what_was_no_handshake_leaves_the_connection_to_the_next_request(
    browser: Browser, lines: tuple[str, ...], status: int
) -> None:
    assert browser.port is not None
    handshake = "\r\n".join((GET, HOST, *UPGRADE, COOKIE, "User: ben")).encode()
    async with strangers(browser.port) as (stranger,):
        assert await stranger.request(*lines, "User: ana", b"\r\n" + handshake) == status
        while b"101 Switching Protocols" not in stranger._unread:
            await stranger.trickle(65_536)
            assert not stranger.gone
        assert browser.app is not None
        (connection,) = browser.app[CONNECTIONS]
        assert connection.identity.user == "ben"
