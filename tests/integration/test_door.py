"""What a stranger may try with the cookie, and with a handshake that nobody finishes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from processor_live_demo.access import Access
from tests.core.stranger import UPGRADE, Stranger, strangers
from tests.core.wire import metric
from tests.integration.platform import EVENTUALLY_SECONDS, Live, Platform
from tests.running import keeping_a_diary

HOST = "Host: live.rally.al"
NOBODY = "event:6f1c5c0e-0000-4000-8000-000000000000"
LIMIT_BYTES = 8_190
"""What aiohttp, like nginx, takes as one header."""


def port_of(live: Live) -> int:
    """Return where an instance listens."""
    return int(live.url.rpartition(":")[2])


@pytest.fixture
async def live(platform: Platform) -> Live:
    return await platform.start()


@pytest.fixture
async def stranger(live: Live) -> AsyncIterator[Stranger]:
    """A bare connection; whatever it says, nothing is logged about it."""
    with keeping_a_diary() as diary:
        async with strangers(port_of(live)) as (stranger,):
            yield stranger
        assert diary.lines == []


async def test_a_cookie_may_fill_a_header_and_reaches_directus_whole(
    stranger: Stranger, access: Access, cookie: str
) -> None:
    filler = f"; filler={'x' * (LIMIT_BYTES - len(cookie) - 30)}"
    assert await stranger.upgrade(f"Cookie: {cookie}{filler}") == 101
    assert access.calls[0].headers["Cookie"] == cookie + filler


async def test_a_cookie_of_16_kb_is_refused_without_being_repeated(
    stranger: Stranger, access: Access, cookie: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    assert await stranger.upgrade(f"Cookie: {cookie}; filler={'x' * 16_384}") == 400
    said = await stranger.rest()
    token = cookie.partition("=")[2].encode()
    assert token not in said
    assert b"xxxx" not in said
    assert token.decode() not in caplog.text
    assert access.calls == []


@pytest.mark.parametrize("order", [1, -1], ids=["the live one first", "the live one last"])
async def test_conflicting_cookies_are_for_directus_to_judge_all_of_them_in_their_order(
    stranger: Stranger, access: Access, cookie: str, order: int
) -> None:
    both = [cookie, f"{cookie.partition('=')[0]}=forged"][::order]
    await stranger.upgrade(f"Cookie: {both[0]}", f"Cookie: {both[1]}")
    assert access.calls[0].headers["Cookie"] == "; ".join(both)


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param(b"\nAuthorization: Bearer x", id="line feed"),
        pytest.param(b"\rAuthorization: Bearer x", id="carriage return"),
        pytest.param(b"\r Authorization: Bearer x", id="carriage return and space"),
        pytest.param(b"\x0b\x0c", id="vertical tab and form feed"),
        pytest.param(b"\x7f", id="delete"),
        pytest.param("\u010aAuthorization: Bearer x".encode(), id="a letter that ends in a line feed's number"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"%0d%0aAuthorization: Bearer x", id="escaped"),
    ],
)
async def test_a_cookie_cannot_smuggle_a_header_to_directus(
    stranger: Stranger, access: Access, cookie: str, spoiled: bytes
) -> None:
    status = await stranger.request(
        "GET /ws-live HTTP/1.1", HOST, *UPGRADE, b"Cookie: " + cookie.encode() + b"; x=" + spoiled + b"\r\nX-Real: 1"
    )
    assert status in {101, 400, 401, 503}
    for call in access.calls:
        assert call.headers["X-Forwarded-For"] == "127.0.0.1"
        assert set(call.headers) <= {"Host", "Cookie", "Accept", "Accept-Encoding", "User-Agent", "X-Forwarded-For"}
        assert len(call.headers) == len(set(call.headers))


async def test_who_closes_within_the_handshake_leaves_nothing_behind(
    platform: Platform, access: Access, event: str, cookie: str, caplog: pytest.LogCaptureFixture
) -> None:
    platform.database.register(event, "1")  # an empty rally would be warned of
    crowd_size, before = 20, metric("live_handshakes_total", status="499")
    live = await platform.start(LIVE_WS_MAX_CONNECTIONS=str(crowd_size))
    arrived, let_go = asyncio.Event(), asyncio.Event()

    async def slowly(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await let_go.wait()
        return web.Response(body=b'{"data": {"id": "ana"}}')

    access.overrides["users"] = slowly
    half = f"GET /ws-live HTTP/1.1\r\n{HOST}\r\nCookie: {cookie}\r\n".encode()
    async with strangers(port_of(live), 2 * crowd_size) as crowd:
        for number, stranger in enumerate(crowd):
            await stranger.send(half, *(f"{line}\r\n".encode() for line in (*UPGRADE, "") if number % 2))
        await arrived.wait()
        assert (await live.handshake(Cookie=cookie))[0] == 503
    let_go.set()
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while (await live.handshake())[0] == 503:
            pass
    viewer = await live.viewer(cookie)
    assert (await viewer.ask("unsubscribe", NOBODY))["type"] == "unsubscribed"
    assert metric("live_handshakes_total", status="499") - before == crowd_size
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []
