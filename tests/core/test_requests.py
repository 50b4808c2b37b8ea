"""What a stranger may try with the request itself: look-alike origins, other versions, and no viewer's at all."""

from collections.abc import AsyncIterator

import pytest

from tests.core.door import Start
from tests.core.stranger import UPGRADE, Stranger, strangers
from tests.running import keeping_a_diary

HOST = "Host: live.rally.al"


@pytest.fixture
async def stranger(start: Start) -> AsyncIterator[Stranger]:
    """A bare connection; whatever it says, nothing is logged about it."""
    browser = await start()
    assert browser.port is not None
    with keeping_a_diary() as diary:
        async with strangers(browser.port) as (stranger,):
            yield stranger
        assert diary.lines == []


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://live.rally.al.evil.example",
        "http://evil.example/live.rally.al",
        "http://evil-live.rally.al",
        "http://rally.al",
        "http://live.rally.al:8080",
        "http://live.rally.al.",
        "http://LIVE.RALLY.AL.",
        "https://live.rally.al:80",
        "ftp://live.rally.al",
        "chrome-extension://live.rally.al",
        "http://live.rally.al http://evil.example",
        "http://evil.example, http://live.rally.al",
        "http://live.rally.al@evil.example",
        "http://l\xedve.rally.al",
        "*",
    ],
)
async def test_an_origin_that_only_looks_like_the_hosts_is_foreign(stranger: Stranger, origin: str) -> None:
    assert await stranger.upgrade("Cookie: session=1", f"Origin: {origin}") == 403


@pytest.mark.parametrize("origin", ["HTTP://LIVE.rally.AL", "https://live.rally.al", "http://live.rally.al:80"])
async def test_the_hosts_own_origin_is_welcome_however_it_is_spelled(stranger: Stranger, origin: str) -> None:
    assert await stranger.upgrade("Cookie: session=1", f"Origin: {origin}") == 101


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(("GET /ws-live HTTP/1.1", HOST), id="no upgrade"),
        pytest.param(("GET / HTTP/1.1", HOST), id="no upgrade at the root"),
        pytest.param(("GET /ws-live HTTP/1.0", HOST, *UPGRADE), id="HTTP/1.0"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, *UPGRADE[:2], UPGRADE[3]), id="no version"),
        *(
            pytest.param(
                ("GET /ws-live HTTP/1.1", HOST, *UPGRADE[:2], UPGRADE[3], f"Sec-WebSocket-Version: {version}"),
                id=f"version {version or 'empty'}",
            )
            for version in ("0", "7", "8", "12", "14", "013", "13, 8", "")
        ),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, *UPGRADE[:3], "Sec-WebSocket-Key: AAAA"), id="short key"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, *UPGRADE[:3]), id="no key"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, *UPGRADE, "Content-Length: 5"), id="a body"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, *UPGRADE, "Transfer-Encoding: chunked"), id="chunks"),
    ],
)
async def test_what_is_no_upgrade_to_version_13_is_told_what_would_be(
    stranger: Stranger, lines: tuple[str, ...]
) -> None:
    assert await stranger.request(*lines, "Cookie: session=1") == 426


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param(("POST /ws-live HTTP/1.1", HOST, *UPGRADE, "Content-Length: 0"), 405, id="POST"),
        pytest.param(("CONNECT redis:6379 HTTP/1.1", "Host: redis:6379"), 404, id="CONNECT"),
        pytest.param(("GET http://169.254.169.254/ws-live HTTP/1.1", HOST, *UPGRADE), 401, id="somebody else's URL"),
        pytest.param(("GET /ws-live/../metrics HTTP/1.1", HOST), 404, id="dots"),
        pytest.param(("GET /metrics HTTP/1.1", HOST), 404, id="metrics"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, "Host: evil.example", *UPGRADE), 400, id="two hosts"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, b"X: a\rCookie: b", *UPGRADE), 400, id="bare CR"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, b"Cookie: a\0b", *UPGRADE), 400, id="NUL"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, "Cookie: a", " b", *UPGRADE), 400, id="folded"),
        pytest.param(("GET /ws-live HTTP/1.1", HOST, "Cookie : a", *UPGRADE), 400, id="space before the colon"),
        pytest.param(
            ("GET /ws-live HTTP/1.1", HOST, *UPGRADE, "Content-Length: 5", "Transfer-Encoding: chunked"),
            400,
            id="two lengths",
        ),
        pytest.param((f"GET /ws-live?{'x' * 8_190} HTTP/1.1", HOST), 400, id="long"),
        pytest.param(("SSH-2.0-x",), 400, id="another protocol"),
    ],
)
async def test_what_is_no_request_of_a_viewer_ends_at_the_door(
    stranger: Stranger, lines: tuple[str | bytes, ...], status: int
) -> None:
    assert await stranger.request(*lines) == status
