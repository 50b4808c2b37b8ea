"""A browser, and a stage on which clients meet the service."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page

from processor_live.endpoint import CONNECTIONS
from processor_live_demo.access import Access
from processor_live_demo.embedded import free_port
from tests.integration.clients.chromium import Tab, chromium
from tests.integration.clients.stage import Stage
from tests.integration.conftest import ANA
from tests.integration.platform import Live, Platform, moment, now_ms
from tests.integration.process import Start
from tests.servers import Database

CLIENT = Path(__file__).parents[3] / "client"
IMEIS = [f"35209308046{number:04}" for number in range(1001, 1004)]
MAP = {
    "LIVE_PLUGINS": "auth,authorization,routing,snapshot,fanout,map,processor_live_demo.proxy:setup",
    "LIVE_MAP_SIGN_IN_URL": "/login",
}
"""The settings of a service with the map, and Directus on the same origin, as in the demo."""
ROAD = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "LineString", "coordinates": [[19.4, 41.4], [19.6, 41.6]]},
        }
    ],
}


@pytest.fixture
async def page(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], cookie: str
) -> AsyncIterator[tuple[Page, str]]:
    """A page of the SPA in a browser that is signed in, and its origin."""

    async def spa(_: web.Request) -> web.Response:
        response = web.Response(text="<!doctype html><title>SPA</title>", content_type="text/html")
        response.set_cookie(*cookie.split("=", 1))
        return response

    async def module(_: web.Request) -> web.FileResponse:
        return web.FileResponse(CLIENT / "live.js")

    app = web.Application()
    app.router.add_get("/", spa)
    app.router.add_get("/live.js", module)
    origin = str((await aiohttp_server(app)).make_url("")).rstrip("/")
    async with chromium() as browser:
        page = await browser.new_page()
        await page.goto(origin)
        yield page, origin


@pytest.fixture
def stage(platform: Platform, start: Start, access: Access) -> Stage:
    """The service before it starts, and what stands around it; Ana may follow all of it."""
    return Stage(platform, access, ANA, start, free_port())


@pytest.fixture
async def live(platform: Platform, database: Database, access: Access, event: str, tmp_path: Path) -> Live:
    """The service with the map, as in the demo; three devices of the event have been seen just now."""
    database.register(event, *IMEIS)
    for number, imei in enumerate(IMEIS):
        database.add_position(imei, moment(now_ms()), latitude=41.5 + number / 100, longitude=19.5 + number / 100)
    access.names = {event: "Rally of Theth"}
    overlay = tmp_path / "road.geojson"
    overlay.write_text(json.dumps(ROAD), encoding="utf-8")
    return await platform.start(**MAP, LIVE_MAP_OVERLAY=str(overlay))


@asynccontextmanager
async def quiet_tab(origin: str, cookie: str = "", **options: Any) -> AsyncIterator[Tab]:  # noqa: ANN401 - as playwright has them
    """Open a tab of a browser; nothing that happens there may give reason to complain."""
    async with chromium() as browser:
        tab = await Tab.open(browser, origin, cookie, **options)
        yield tab
        tab.check()


@pytest.fixture
async def tab(live: Live, cookie: str) -> AsyncIterator[Tab]:
    """A quiet tab in which Ana is signed in."""
    async with quiet_tab(live.url, cookie) as tab:
        yield tab


async def interrupt(tab: Tab, live: Live) -> None:
    """Cut the page's connection, and wait until it has another."""
    connections = live.app[CONNECTIONS]
    (before,) = connections
    before.cut()
    await tab.until("() => 0", lambda _: connections and before not in connections)
