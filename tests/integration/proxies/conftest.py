"""The shipped configurations before the platform, each run by its own program."""

import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from processor_live_demo import embedded
from processor_live_demo.child import Child
from tests.integration.platform import Platform, Served
from tests.integration.proxies import shipped
from tests.integration.proxies.front import ADDRESS, Front
from tests.integration.proxies.shipped import Changes, Proxy, Site

Deploy = Callable[..., Awaitable[Front]]
"""Puts a proxy, its configuration changed so and so, before instances of the service."""
UNCHANGED: Changes = MappingProxyType({})


@pytest.fixture(params=[shipped.nginx, shipped.caddy], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest) -> Proxy:
    """Each of the proxies."""
    chosen: Proxy = request.param
    return chosen


@pytest.fixture
async def deploy(platform: Platform) -> AsyncIterator[Deploy]:
    """Deploys the SPA, Directus and instances of the service behind a proxy."""
    async with AsyncExitStack() as stack:

        async def before(proxy: Proxy, *instances: Served, changes: Changes = UNCHANGED) -> Front:
            # short, for the path of Caddy's socket; pytest's own are not
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="processor-live-tests-")))
            shipped.prepare(home)
            trust = ssl.create_default_context(cafile=home / "cert.pem")
            connector = TCPConnector(ssl=trust, local_addr=(ADDRESS, 0), limit=0)
            session = await stack.enter_async_context(ClientSession(connector=connector, cookie_jar=DummyCookieJar()))
            addresses = tuple(urlsplit(each.url).netloc for each in instances)
            directus = urlsplit(platform.environ["DIRECTUS_BASE_URL"]).netloc
            started: list[Child] = []

            def child(port: int) -> Child:
                site = Site(home=home, port=port, instances=addresses, directus=directus)
                started.append(proxy(site, changes))
                return started[-1]

            port = stack.enter_context(embedded._listening(child, lambda child, _: shipped.is_ready(child)))
            return Front(f"https://127.0.0.1:{port}", replace(platform, session=session), started[-1])

        yield before
