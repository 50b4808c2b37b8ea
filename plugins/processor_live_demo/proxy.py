"""How do Directus and the live channel come from one origin? Plays the reverse proxy in front of both."""

from collections.abc import AsyncIterator

from aiohttp import ClientError, ClientSession, DummyCookieJar, hdrs, web

from processor_live import ENVIRON, client_address

PATHS = ("/login", "/auth/{_:.*}", "/users/me", "/items/{_:.*}")
ON_THE_WAY_THERE = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.COOKIE)
ON_THE_WAY_BACK = (hdrs.CONTENT_TYPE, hdrs.LOCATION, hdrs.RETRY_AFTER, hdrs.SET_COOKIE)
SESSION = web.AppKey("SESSION", ClientSession)


def setup(app: web.Application) -> None:
    """Answer what is Directus's business as Directus does."""
    app.cleanup_ctx.append(_session)
    for path in PATHS:
        app.router.add_route("*", path, _forward)


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(app[ENVIRON]["DIRECTUS_BASE_URL"], cookie_jar=DummyCookieJar()) as app[SESSION]:
        yield


async def _forward(request: web.Request) -> web.Response:
    headers = {name: request.headers[name] for name in ON_THE_WAY_THERE if name in request.headers}
    headers[hdrs.X_FORWARDED_FOR] = client_address(request)
    try:
        async with request.app[SESSION].request(
            request.method, request.rel_url, headers=headers, data=await request.read(), allow_redirects=False
        ) as answer:
            response = web.Response(status=answer.status, body=await answer.read())
            for name in ON_THE_WAY_BACK:
                for value in answer.headers.getall(name, []):
                    response.headers.add(name, value)
            return response
    except ClientError:
        return web.Response(status=502, text="Directus does not answer\n")
