"""A handshake agrees on what both can do, loses nothing that came with it, and leaves nothing of HTTP behind."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tests.core.door import Start
from tests.core.test_frame_reader import frame
from tests.core.wire import frames

Ask = Callable[..., Awaitable[tuple[dict[str, str], asyncio.StreamReader]]]

OFFER = "permessage-deflate; client_max_window_bits"
AGREED = "permessage-deflate; client_no_context_takeover"


def handshake(**headers: str) -> bytes:
    """Return a request for a WebSocket, with the example key of RFC 6455 §1.3."""
    lines = {
        "Host": "live", "Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket", "Cookie": "session=1",
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    } | {name.replace("_", "-"): value for name, value in headers.items()}  # fmt: skip
    return "".join(["GET /ws-live HTTP/1.1\r\n", *(f"{name}: {lines[name]}\r\n" for name in lines), "\r\n"]).encode()


@pytest.fixture
async def ask(start: Start) -> AsyncIterator[Ask]:
    """Send a request to an application with these settings, and return the answer's headers and what follows them."""
    writers: list[asyncio.StreamWriter] = []

    async def ask(request: bytes, **settings: str) -> tuple[dict[str, str], asyncio.StreamReader]:
        browser = await start(**settings)
        reader, writer = await asyncio.open_connection(browser.host, browser.port)
        writers.append(writer)
        writer.write(request)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        assert status == "HTTP/1.1 101 Switching Protocols"
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, reader

    yield ask
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def test_the_answer_is_that_of_rfc_6455(ask: Ask) -> None:
    headers, _ = await ask(handshake())
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert (headers["upgrade"], headers["connection"]) == ("websocket", "upgrade")
    assert not {"content-length", "transfer-encoding", "sec-websocket-extensions", "sec-websocket-protocol"} & {
        *headers
    }


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate", AGREED),
        (OFFER, AGREED),
        ("x-webkit-deflate-frame, permessage-deflate", AGREED),
        ("permessage-deflate; server_no_context_takeover", AGREED.replace("; c", "; server_no_context_takeover; c")),
        ("permessage-deflate; server_max_window_bits=10", AGREED.replace("; c", "; server_max_window_bits=10; c")),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-bzip2", None),
    ],
)
async def test_compression_is_agreed_on_as_it_was_offered(ask: Ask, offer: str, agreed: str | None) -> None:
    headers, _ = await ask(handshake(Sec_WebSocket_Extensions=offer))
    assert headers.get("sec-websocket-extensions") == agreed


async def test_compression_can_be_switched_off(ask: Ask) -> None:
    headers, _ = await ask(handshake(Sec_WebSocket_Extensions=OFFER), LIVE_WS_COMPRESSION="false")
    assert "sec-websocket-extensions" not in headers


@pytest.mark.parametrize(("offered", "chosen"), [("live.v1", "live.v1"), ("a, live.v1", "live.v1"), ("a,b", None)])
async def test_the_subprotocol_is_echoed_when_it_is_ours(ask: Ask, offered: str, chosen: str | None) -> None:
    headers, _ = await ask(handshake(Sec_WebSocket_Protocol=offered))
    assert headers.get("sec-websocket-protocol") == chosen


async def test_what_is_sent_right_behind_the_handshake_is_not_lost(ask: Ask) -> None:
    _, reader = await ask(handshake() + frame(0x81, b'{"type":"unsubscribe","topic":"event:1"}'))
    data = b""
    while not frames(data)[0]:
        data += await reader.read(1_000)
    assert [each.payload for each in frames(data)[0]] == [b'{"type":"unsubscribed","topic":"event:1"}']


async def test_an_open_connection_keeps_nothing_of_http(ask: Ask) -> None:
    _, reader = await ask(handshake())
    for _ in range(5):  # the handler's task ends
        await asyncio.sleep(0)
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, (RequestHandler, web.BaseRequest))]
    assert not reader.at_eof()
