"""What do the tests of the core share? A whole application without any store."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.typedefs import Middleware

from processor_live.app import make_app
from tests.core.door import Browser, Server, Start, vouch
from tests.core.pair import Pair, connected


@pytest.fixture
def environ() -> dict[str, str]:
    """An environment for a process of its own, without plugins."""
    return {"LIVE_PLUGINS": ",", "METRICS_HOST": "127.0.0.1", "METRICS_PORT": "0"}


@pytest.fixture
async def start(environ: dict[str, str]) -> AsyncIterator[Start]:
    """Start the whole application, with settings and more middlewares, and return a browser at its door."""
    browsers: list[Browser] = []

    async def start(*middlewares: Middleware, **settings: str) -> Browser:
        app = make_app({**environ, **settings})
        app.middlewares.extend(middlewares or (vouch,))
        browser: Browser = TestClient(Server(app))
        browsers.append(browser)
        await browser.start_server()
        return browser

    yield start
    for browser in browsers:
        await browser.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A connection with a kernel between its ends."""
    async with connected() as pair:
        yield pair
