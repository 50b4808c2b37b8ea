"""What Directus 11 answers to the requests of the service and of a login form (docs/contract.md §6.3)."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from processor_live_demo.access import COOKIE_NAME, SESSION_LIFETIME_S, Access, Call, Handler, Kind, Refused, User
from processor_live_demo.sign_in import sign_in_page

ACCESS = web.AppKey("ACCESS", Access)
CLOSING = web.AppKey("CLOSING", asyncio.Event)
LANDING = web.AppKey("LANDING", str)


def make_directus(access: Access, landing: str = "/login") -> web.Application:
    """Return the stand-in Directus; `access` may be changed while it runs. Who signs in by hand goes to `landing`."""
    app = web.Application(middlewares=[_stand_in])
    app[ACCESS] = access
    app[LANDING] = landing
    app[CLOSING] = asyncio.Event()
    app.on_shutdown.append(_let_go)
    app.add_routes(
        [
            web.get("/login", _login_page),
            web.post("/auth/login", _login),
            web.post("/auth/logout", _logout),
            web.get("/users/me", _me),
            web.get("/items/events{_:/?}{id:.*}", _event),
        ]
    )
    return app


def answer(status: int, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Handler:
    """Return an override that answers always the same, e.g. 429 with `Retry-After`, or 200 with half a JSON."""

    async def override(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return override


def silence() -> Handler:
    """Return an override that takes the request and never answers, until the caller or the server goes away."""

    async def override(request: web.Request) -> web.Response:
        closing = asyncio.ensure_future(request.app[CLOSING].wait())
        try:
            while not closing.done() and request.transport is not None:
                await asyncio.wait([closing], timeout=0.05)
        finally:
            closing.cancel()
        return web.Response(status=503)

    return override


async def _let_go(app: web.Application) -> None:
    app[CLOSING].set()


@web.middleware
async def _stand_in(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record the call, let an override answer it, and turn refusals into Directus' form of an error."""
    access = request.app[ACCESS]
    kind: Kind | None = None
    if request.path.startswith("/users/"):
        kind = "users"
    elif request.path.startswith("/items/events"):
        kind = "events"
    if kind is not None:
        access.calls.append(Call(kind=kind, path=request.raw_path, headers=request.headers))
        handler = access.overrides.get(kind, handler)
    try:
        return await handler(request)
    except Refused as refusal:
        return _error(refusal.status, refusal.code, str(refusal))
    except web.HTTPNotFound:
        return _error(404, "ROUTE_NOT_FOUND", f"Route {request.path} doesn't exist.")


async def _me(request: web.Request) -> web.Response:
    user = _user(request)
    if user is None:
        raise Refused(401, "INVALID_CREDENTIALS", "Invalid user credentials.")
    known = {
        "id": user.id,
        "email": user.email,
        "role": user.role,
        "first_name": user.first_name,
        "last_name": user.last_name,
    }
    asked = request.query.get("fields", ",".join(known)).split(",") if user.reads_users else ["id"]
    return _data({name: known[name] for name in asked if name in known})


async def _event(request: web.Request) -> web.Response:
    user, names = _user(request), request.app[ACCESS].names
    forbidden = Refused(403, "FORBIDDEN", "You don't have permission to access this.")
    fields = request.query.get("fields", "id").split(",")
    if user is None or not {*fields} <= ({"id", "name"} if names else {"id"}):
        raise forbidden
    items = {event: {"id": event, "name": names.get(event)} for event in sorted(user.events)}
    shown = {event: {field: item[field] for field in fields} for event, item in items.items()}
    asked = request.match_info["id"]
    if not asked:
        return _data([*shown.values()])
    try:
        event = str(uuid.UUID(asked))
    except ValueError:
        return _error(500, "INTERNAL_SERVER_ERROR", "An unexpected error occurred.")
    if event not in shown:
        raise forbidden  # one answer for both, so that nobody learns which events exist
    return _data(shown[event])


async def _login(request: web.Request) -> web.Response:
    is_form = request.content_type == "application/x-www-form-urlencoded"
    try:
        fields: Any = dict(await request.post()) if is_form else await request.json()
        email, password = fields["email"], fields["password"]
    except (ValueError, KeyError, TypeError):
        return _error(400, "INVALID_PAYLOAD", 'Invalid payload. "email" and "password" are required.')
    token = request.app[ACCESS].login(str(email), str(password))
    if token is None:
        raise Refused(401, "INVALID_CREDENTIALS", "Invalid user credentials.")
    response = _data({"expires": SESSION_LIFETIME_S * 1000})
    if is_form:  # a person with a browser
        response = web.Response(status=303, headers={"Location": request.app[LANDING]})
    response.set_cookie(COOKIE_NAME, token, path="/", httponly=True, samesite="Lax", max_age=SESSION_LIFETIME_S)
    return response


async def _logout(request: web.Request) -> web.Response:
    token = request.cookies.get(COOKIE_NAME)
    if token is None:
        return _error(400, "INVALID_PAYLOAD", "Invalid payload. The session token is required.")
    request.app[ACCESS].end_session(token)
    response = web.Response(status=204)
    response.del_cookie(COOKIE_NAME, path="/", httponly=True, samesite="Lax")
    return response


async def _login_page(request: web.Request) -> web.Response:
    access = request.app[ACCESS]
    try:
        user = _user(request)
    except Refused:
        user = None
    return web.Response(text=sign_in_page(access, user), content_type="text/html")


def _user(request: web.Request) -> User | None:
    """Return the user of the session cookie, None without one; raises Refused for one that is not accepted."""
    token = request.cookies.get(COOKIE_NAME)
    return request.app[ACCESS].user_of(token) if token else None


def _data(data: object) -> web.Response:
    return web.json_response({"data": data})


def _error(status: int, code: str, message: str) -> web.Response:
    body = {"errors": [{"message": message, "extensions": {"code": code}}]}
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")
