"""Whom do the tests of handshakes let in, and what stands at the door?"""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from processor_live.connection import Connection, Identity
from processor_live.handshake import IDENTITY, Handler, is_handshake
from processor_live.protocol import Verdict

Browser = TestClient[web.Request, web.Application]
Start = Callable[..., Awaitable[Browser]]

COOKIE = {"Cookie": "session=1"}


class Server(TestServer):
    """Serves as `web.run_app` does: a handler goes on to its end when its client has gone."""

    async def _make_runner(self, **options: Any) -> web.AppRunner:  # noqa: ANN401 - as aiohttp has them
        return web.AppRunner(self.app, **{**options, "handler_cancellation": False})


@web.middleware
async def vouch(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stand in for an authentication plugin: the user is the `User` header's."""
    if is_handshake(request):
        request[IDENTITY] = Identity(request.headers.get("User", "ana"))
    return await handler(request)


async def allow(_connection: Connection, _topic: str) -> Verdict:
    """Stand in for an authorization plugin."""
    return Verdict.ALLOW
