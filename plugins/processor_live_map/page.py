"""Where is the map, and who is sent there?"""

import json
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files

from aiohttp import hdrs, web

from processor_live import ENVIRON, StartError, load
from processor_live_map.asset import Asset, security_policy
from processor_live_map.overlay import read_overlay
from processor_live_map.settings import MapSettings

LEAFLET = ("leaflet.js", "leaflet.css")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def setup(app: web.Application) -> None:
    """Serve the map at `/map`, and send browsers there that open `/`. Raise `StartError`."""
    settings = load(MapSettings, app[ENVIRON])
    policy = security_policy(settings.tile_origin())
    for name, body in contents(settings):
        asset = Asset(name=name, body=body, policy=policy)
        app.router.add_get("/map" if name == "map.html" else f"/map/{name}", asset.serve)
    app.router.add_get("/map/", _without_slash)
    app.middlewares.insert(0, _show_browsers_the_way)  # before the endpoint's own checks, which know only WebSockets


def contents(settings: MapSettings) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of everything that the page loads, itself included. Raise `StartError`."""
    for file in files("processor_live_map").joinpath("static").iterdir():
        yield file.name, file.read_bytes()
    try:
        leaflet = files("xstatic.pkg.leaflet").joinpath("data")
    except ModuleNotFoundError:
        raise StartError("processor-live: the plugin 'map' needs Leaflet: pip install xstatic-leaflet") from None
    for name in LEAFLET:
        yield name, leaflet.joinpath(name).read_bytes()
    yield "overlay.json", read_overlay(settings.overlay)
    config = {
        "directus": settings.directus_url,
        "signIn": settings.sign_in_url,
        "tiles": settings.tile_url,
        "attribution": settings.tile_attribution,
    }
    yield "config.json", json.dumps(config).encode()


async def _without_slash(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("../map")  # the page's own links are relative, a proxy may have put a prefix before it


@web.middleware
async def _show_browsers_the_way(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send a person who opens `/` to the map; who wants a WebSocket, or is no browser, is the endpoint's business."""
    if request.path == "/" and request.method == hdrs.METH_GET and _is_a_persons(request):
        raise web.HTTPFound("map", headers={hdrs.VARY: f"{hdrs.ACCEPT}, {hdrs.UPGRADE}"})
    return await handler(request)


def _is_a_persons(request: web.Request) -> bool:
    accepted = {each.partition(";")[0].strip().lower() for each in request.headers.get(hdrs.ACCEPT, "").split(",")}
    return "text/html" in accepted and hdrs.UPGRADE not in request.headers
