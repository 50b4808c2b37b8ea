"""How does a request become a WebSocket? (RFC 6455 §4.2.2 and RFC 7692 §7.1)"""

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http import WS_KEY, ws_ext_gen, ws_ext_parse

from processor_live.deflate import WINDOW_BITS
from processor_live.kernel import bound_send_buffer
from processor_live.protocol import SUBPROTOCOL


@dataclass(frozen=True, slots=True)
class Agreement:
    """What client and server have agreed on."""

    response: web.StreamResponse
    """Status 101, to be prepared."""
    compressed: bool
    """Whether messages may be compressed."""
    shared: bool
    """Whether the client can decode a stream that it shares with others (`deflate`)."""


def is_upgrade(request: web.Request) -> bool:
    """Return whether `request` asks for a WebSocket of the version that there is, and for nothing else.

    A body would be taken for frames, as far as it comes late (RFC 9110 §9.3.1 lets a server refuse that of a GET).
    """
    return (
        request.version >= (1, 1)
        and not request.body_exists
        and request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) == "13"  # aiohttp takes the drafts' 7 and 8, too
        and web.WebSocketResponse().can_prepare(request).ok
    )


def agree(request: web.Request, *, compression: bool) -> Agreement:
    """Return the answer to a request that `is_upgrade`."""
    key = request.headers[hdrs.SEC_WEBSOCKET_KEY].encode()
    headers = {
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "upgrade",
        hdrs.SEC_WEBSOCKET_ACCEPT: base64.b64encode(
            hashlib.sha1(key + WS_KEY, usedforsecurity=False).digest()
        ).decode(),
    }
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_EXTENSIONS) if compression else None
    window_bits, forgets = ws_ext_parse(offered, isserver=True)
    if window_bits:
        # commands are short: each compressed by itself, no client costs the 40 KB of a decompressor that remembers
        agreed = ws_ext_gen(window_bits, isserver=True, server_notakeover=forgets)
        headers[hdrs.SEC_WEBSOCKET_EXTENSIONS] = f"{agreed}; client_no_context_takeover"
    subprotocols = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")
    if SUBPROTOCOL in map(str.strip, subprotocols):
        headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = SUBPROTOCOL
    return Agreement(
        web.StreamResponse(status=101, headers=headers), window_bits > 0, window_bits >= WINDOW_BITS and not forgets
    )


class _Early:
    """Takes, in the place of a parser, what has come behind the handshake already."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Be told that HTTP is over."""


async def switch(request: web.Request, response: web.StreamResponse, protocol: asyncio.Protocol) -> bytes:
    """Send `response`, and give the transport of `request` to `protocol`; return what has come behind the request.

    It reads no further until it is told to, when its protocol can take what comes. HTTP is told that its connection is
    lost, so that nothing is kept of it. Raises `ConnectionError` when it is indeed.
    """
    http = request.protocol
    response.force_close()
    await response.prepare(request)
    transport = http.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    bound_send_buffer(transport)
    early = _Early()
    http.set_parser(cast("Any", early))
    http.transport = None  # or it would be closed
    http.connection_lost(None)
    transport.set_protocol(protocol)
    transport.pause_reading()
    return early.data
