"""Who is at the other end? Directus knows the session cookie (docs/contract.md §1, check 5)."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from processor_live import (
    IDENTITY,
    Identity,
    SingleFlight,
    client_address,
    cookie_of,
    is_handshake,
    refusal,
    unavailable,
)
from processor_live_directus.client import Answer, Directus, NoAnswerError, Question, directus_of

PATIENCE_SECONDS = 4.8
"""For a free place: nobody is turned away who would have had an answer within 5 s (docs/contract.md §6.3)."""
ME = "/users/me?fields=id,email,role,first_name,last_name"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def setup(app: web.Application) -> None:
    """Let nobody through to the endpoint whose cookie Directus does not accept."""
    directus = directus_of(app)
    flight = SingleFlight[str, Identity | None]()

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_handshake(request):
            return await handler(request)
        cookie, address = cookie_of(request), client_address(request)
        try:
            identity = await flight.ask(cookie, lambda: who(directus, cookie, address))
        except NoAnswerError:
            return unavailable("your session cannot be checked at the moment; try again")
        if identity is None:
            return refusal(401, "no live session; sign in")
        request[IDENTITY] = identity
        return await handler(request)

    app.middlewares.append(authenticate)


async def who(directus: Directus, cookie: str, address: str) -> Identity | None:
    """Return who Directus says this is, None when it is nobody. Raise `NoAnswerError`."""
    return await directus.get(WHO, ME, cookie=cookie, address=address, timeout_ms=directus.settings.auth_timeout_ms)


def identity_in(answer: Answer) -> Identity | None:
    """Return what an answer to `/users/me` means. Raise `NoAnswerError` when it means nothing."""
    match answer.status:
        case 200:
            return Identity(answer.id) if answer.id else None
        case 401:
            return None
        case 403 if answer.code:
            return None
    raise NoAnswerError(f"status {answer.status} to /users/me", str(answer.status))


WHO = Question("users", identity_in, patience_s=PATIENCE_SECONDS, newcomer=True)
