"""What else may come back from where Directus should be?"""

import asyncio
import socket
import struct
import zlib
from collections.abc import Mapping

from aiohttp import web

from processor_live_demo.access import Handler
from processor_live_demo.directus import answer, silence

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = JSON + b"Content-Length: 100\r\n\r\n"
CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
A_MEGABYTE = 1_000_000


def raw(data: bytes, *, reset: bool = False) -> Handler:
    """Return an override that answers with these bytes, be they HTTP or not, and hangs up: a reset is the rude way."""

    async def override(request: web.Request) -> web.Response:
        transport = request.transport
        assert transport is not None
        transport.write(data)
        if reset:
            at_once = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            transport.abort()
        transport.close()
        return web.Response()

    return override


def trickle(data: bytes, rest: bytes) -> Handler:
    """Return an override that begins with `data` and then goes on for ever with one byte of the rest after another."""

    async def override(request: web.Request) -> web.Response:
        transport = request.transport
        assert transport is not None
        transport.write(data)
        while not transport.is_closing():
            for byte in rest:
                transport.write(bytes([byte]))
                await asyncio.sleep(0.01)
        return web.Response()

    return override


def flood(data: bytes, rest: bytes) -> Handler:
    """Return an override that begins with `data` and then goes on for ever, as fast as it is read."""

    async def override(request: web.Request) -> web.Response:
        transport = request.transport
        assert transport is not None
        transport.write(data)
        while not transport.is_closing():
            if transport.get_write_buffer_size() < A_MEGABYTE:
                transport.write(rest)
            await asyncio.sleep(0)
        return web.Response()

    return override


def bomb(megabytes: int) -> bytes:
    """Return so many megabytes of zeros, compressed with gzip to a thousandth."""
    deflate = zlib.compressobj(9, wbits=31)
    return b"".join(deflate.compress(bytes(A_MEGABYTE)) for _ in range(megabytes)) + deflate.flush()


REFUSALS: Mapping[str, Handler] = {
    "500": answer(500, body=b'{"errors":[{"extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}'),
    "429": answer(429, headers={"Retry-After": "60"}),
    "503": answer(503, body=b'{"errors":[{"extensions":{"code":"SERVICE_UNAVAILABLE"}}]}'),
    "a page instead of JSON": answer(200, body=b"<!doctype html><title>Welcome</title>"),
    "a redirect": answer(302, headers={"Location": "/login"}),
    "an array": answer(200, body=b"[]"),
    "data that is an array": answer(200, body=b'{"data":[{"id":"1"}]}'),
    "nesting without end": answer(200, body=b'{"data":' + b"[" * 60_000),
    "a huge body": answer(200, body=b'{"data":{"id":"' + b"x" * A_MEGABYTE + b'"}}'),
    "a bomb": answer(200, body=bomb(100), headers={"Content-Encoding": "gzip"}),
    "no gzip": answer(200, body=b"no gzip", headers={"Content-Encoding": "gzip"}),
    "a body without end": flood(CHUNKED, b"10000\r\n" + bytes(65_536) + b"\r\n"),
    "headers without end": flood(JSON, b"X-Header: value\r\n" * 1_000),
    "a header of a megabyte": raw(JSON + b"X-Header: " + b"x" * A_MEGABYTE + b"\r\n\r\n"),
    "another protocol": raw(b"\x15\x03\x01\x00\x02\x02\x50"),
    "a status that is none": raw(b"HTTP/1.1 all right\r\n\r\n"),
    "a length that is none": raw(JSON + b"Content-Length: many\r\n\r\n"),
    "a chunk that is none": raw(CHUNKED + b"xyz\r\n"),
}
"""Answers that are none, and come at once."""
HALVES: Mapping[str, Handler] = {
    "nothing": raw(b""),
    "half a header": raw(JSON + b"Set-Cookie: session="),
    "half a body": raw(WHOLE + b'{"data":'),
    "half a chunk": raw(CHUNKED + b'100\r\n{"data":'),
    "a reset before the answer": raw(b"", reset=True),
    "a reset in the middle of the body": raw(WHOLE + b'{"data":', reset=True),
}
"""Answers that break off. Before the head's end aiohttp takes the connection for a dead one and asks once more."""
HANGS: Mapping[str, Handler] = {
    "silence": silence(),
    "a trickle of headers": trickle(JSON + b"X-Header: ", b"x"),
    "a trickle of bytes": trickle(WHOLE, b" "),
    "a trickle of chunks": trickle(CHUNKED, b"1\r\n \r\n"),
    "a chunk's extension without end": flood(CHUNKED + b"5;", bytes(65_536).replace(b"\0", b"x")),
}
"""Answers that do not come to an end; only time ends them."""
