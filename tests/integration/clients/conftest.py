"""A browser, and a stage on which clients meet the service."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page

from processor_live_demo.access import Access
from processor_live_demo.embedded import free_port
from tests.integration.clients.chromium import chromium
from tests.integration.clients.stage import Stage
from tests.integration.conftest import ANA
from tests.integration.platform import Platform
from tests.integration.process import Start

CLIENT = Path(__file__).parents[3] / "client"


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
