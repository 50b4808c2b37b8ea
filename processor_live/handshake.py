"""May this request become a WebSocket? The core's checks, before and around the authentication plugin's.

`check_handshake` is the outermost middleware of the endpoint and makes the checks 1 to 4 of docs/contract.md §1; an
authentication plugin's middleware makes the fifth; the endpoint makes the sixth.
"""

import asyncio
import ipaddress
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from processor_live import metrics
from processor_live.cancellation import no_strays
from processor_live.connection import Identity
from processor_live.health import HEALTH
from processor_live.seats import SEAT, SEATS, Seat
from processor_live.settings import SETTINGS
from processor_live.upgrade import is_upgrade

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)
"""Where the authentication plugin says who the client is."""
NEWCOMERS: web.AppKey[dict[Seat, asyncio.Timeout]] = web.AppKey("newcomers", dict[Seat, asyncio.Timeout])
"""Those of whom it is not known yet who they are; a stop does not wait for that."""
ENDPOINT_ROUTE = "live"
PATHS = ("/ws-live", "/")
"""The second because the development proxy strips the prefix (docs/contract.md §1)."""
RETRY_AFTER_SECONDS = (1, 10)
"""Refused clients are told to come back at a random time in this range, so that they do not come back together."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_handshake(request: web.Request) -> bool:
    """Return whether `request` is for the WebSocket endpoint: what an authentication middleware has to look at."""
    name = request.match_info.route.name
    return name is not None and name.partition(".")[0] == ENDPOINT_ROUTE


def cookie_of(request: web.Request) -> str:
    """Return the raw `Cookie` header, empty when there is none. It must never reach a log, a metric or an error."""
    return "; ".join(request.headers.getall(hdrs.COOKIE, []))


def client_address(request: web.Request) -> str:
    """Return the client's address as the proxy in front of this service reports it, else the peer's.

    Proxies append the address they saw to `X-Forwarded-For`; what stands before it is the client's own claim.
    """
    reported = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, [])).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(reported))
    except ValueError:
        return request.remote or ""


def refusal(status: int, text: str, **headers: str) -> web.Response:
    """Return the plain answer to a handshake that is refused."""
    response = web.Response(status=status, text=text + "\n")
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


def unavailable(text: str) -> web.Response:
    """Return a 503 that spreads over time those who come back."""
    return refusal(503, text, Retry_After=retry_after())


def retry_after() -> str:
    """Return when somebody who is refused should come back, in seconds."""
    return str(random.randint(*RETRY_AFTER_SECONDS))  # noqa: S311 - spreads, hides nothing


@web.middleware
async def check_handshake(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what fails a check; count every handshake by the status of its answer.

    Who is refused is hung up on: nothing that came behind the handshake, a body or another request, is taken for that
    of another client, to whom a proxy may have lent the connection.
    """
    if not is_handshake(request):
        return await handler(request)
    seat = request.app[SEATS].take()
    if seat is not None:
        request[SEAT] = seat
    refused = _refused(request, seated=seat is not None)
    status = 0
    try:
        response = await _admission(request, handler) if refused is None else refused
        status = response.status
    except web.HTTPException as error:  # the other way to answer, in aiohttp
        status = error.status
        error.force_close()
        raise
    except Exception as error:  # a plugin's, or a bug: aiohttp answers, and hangs up
        status = 504 if isinstance(error, TimeoutError) else 500
        raise
    finally:
        if status:
            metrics.HANDSHAKES.labels(status).inc()
        if seat is not None and status != HTTPStatus.SWITCHING_PROTOCOLS:  # else it is the connection's
            seat.leave()
    if status != HTTPStatus.SWITCHING_PROTOCOLS:
        response.force_close()
    return response


async def _admission(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the handler's answer, or a refusal if the service stops while it is not known who asks."""
    newcomers, seat = request.app[NEWCOMERS], request[SEAT]
    try:
        async with asyncio.timeout(None) as newcomer:
            newcomers[seat] = newcomer
            with no_strays():
                return await handler(request)
    except TimeoutError:
        if not newcomer.expired():
            raise
        return unavailable("the server is stopping")
    finally:
        newcomers.pop(seat, None)


def _refused(request: web.Request, *, seated: bool) -> web.Response | None:
    if not is_upgrade(request):
        return refusal(
            426, "this is a WebSocket endpoint (version 13, no body)", Upgrade="websocket", Sec_WebSocket_Version="13"
        )
    if request.app[HEALTH].draining:
        return unavailable("the server is stopping")
    if not seated:
        return unavailable("the server is full")
    if not _is_welcome(request.headers.getall(hdrs.ORIGIN, []), request.host, request.app[SETTINGS].allowed_origins):
        return refusal(
            403, "this origin may not connect; LIVE_WS_ALLOWED_ORIGINS lists those that may besides the host's own"
        )
    if not cookie_of(request):
        return refusal(401, "no session cookie; sign in first")
    return None


def _is_welcome(origins: list[str], host: str, allowed: tuple[str, ...]) -> bool:
    if not origins:
        return True  # no browser: wscat and its like
    (origin, *others) = origins
    if others:
        return False
    return _normal(origin) in {_normal(other) for other in allowed} or _names_host(origin, host)


def _normal(origin: str) -> str:
    """Return `origin` without what makes no difference: its case, and its scheme's default port."""
    lower = origin.lower()
    port = _DEFAULT_PORTS.get(lower.partition("://")[0])
    return lower if port is None else lower.removesuffix(f":{port}")


def _names_host(origin: str, host: str) -> bool:
    """Return whether `origin` is that of `host`; behind a proxy the scheme is the proxy's business.

    Without a port, `host` means the default port of whatever scheme the browser used.
    """
    scheme, _, rest = origin.lower().partition("://")
    if scheme not in _DEFAULT_PORTS or not rest or any(mark in rest for mark in "/?#@\\"):
        return False
    try:
        there, here = urlsplit(f"//{rest}"), urlsplit(f"//{host.lower()}")
        there_port, here_port = there.port or _DEFAULT_PORTS[scheme], here.port or _DEFAULT_PORTS[scheme]
    except ValueError:
        return False  # no number for a port
    return there.hostname is not None and (there.hostname, there_port) == (here.hostname, here_port)
