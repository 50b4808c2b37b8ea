"""The page is served whole, may load nothing from elsewhere, and whoever opens the service in a browser finds it."""

import gzip
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from processor_live.app import make_app
from processor_live.settings import Settings, load
from processor_live_map.page import contents
from processor_live_map.settings import MapSettings
from tests.running import app_with

ROOT = Path(__file__).parents[2]
STATIC = files("processor_live_map").joinpath("static")
OURS = sorted(file.name for file in STATIC.iterdir() if file.name != "map.html")
MODULES = [name for name in OURS if name.endswith(".js")]
WORKERS = {"listener.js", "live.js"}
"""Modules that only the worker runs, which loads its own."""
PAGE = STATIC.joinpath("map.html").read_text(encoding="utf-8")
PERSON = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

Browser = TestClient[web.Request, web.Application]
Open = Callable[[web.Application], Awaitable[Browser]]


@pytest.fixture
async def browser(aiohttp_client: Open) -> Browser:
    """A browser at a service that has the map and nothing else."""
    return await aiohttp_client(app_with("map"))


def text(name: str) -> str:
    """Return a file of ours."""
    return STATIC.joinpath(name).read_text(encoding="utf-8")


async def test_the_page_is_served_and_all_that_it_names(browser: Browser) -> None:
    async with browser.get("/map") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert await response.text() == PAGE
    for path in re.findall(r'(?:href|src)="(map/[^"]+)"', PAGE):
        async with browser.get(f"/{path}") as response:
            assert response.status == 200, path
            expected = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[path.rpartition(".")[2]]
            assert response.content_type == expected


@pytest.mark.parametrize("name", MODULES)
async def test_what_a_module_imports_and_loads_is_served(browser: Browser, name: str) -> None:
    for found in re.findall(r"(?m)^import .* from '\./([^']+)'|load\('([^']+)'\)", text(name)):
        async with browser.get(f"/map/{''.join(found)}") as response:
            assert response.status == 200, found


def test_the_page_asks_for_every_module_at_once() -> None:
    own = [name for name in MODULES if name not in {"main.js", *WORKERS}]
    assert re.findall(r'modulepreload" href="map/([^"]+)"', PAGE) == own


@pytest.mark.parametrize("path", ["map", *(f"map/{name}" for name in (*OURS, "leaflet.js", "config.json"))])
async def test_nothing_may_load_anything_from_elsewhere(browser: Browser, path: str) -> None:
    async with browser.get(f"/{path}") as response:
        assert response.headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("name", [*OURS, "map.html"])
def test_no_file_of_ours_names_another_host(name: str) -> None:
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text(name)) in ([], ["http://www.w3.org"])  # SVG's namespace


def test_no_script_and_no_style_is_inline() -> None:
    assert re.findall(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=", PAGE) == []


async def test_a_file_that_is_known_already_is_not_sent_again(browser: Browser) -> None:
    async with browser.get("/map/main.js") as response:
        assert response.headers["Cache-Control"] == "no-cache"
        tag = response.headers["ETag"]
    async with browser.get("/map/main.js", headers={"If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert "Content-Security-Policy" in response.headers
    async with browser.get("/map/main.js", headers={"If-None-Match": '"another"'}) as response:
        assert response.status == 200


async def test_files_are_compressed_for_those_who_can_read_that(aiohttp_client: Open) -> None:
    app = app_with("map")
    browser = await aiohttp_client(app)
    browser.session._auto_decompress = False
    plain = dict(contents(load(MapSettings, {})))["leaflet.js"]
    async with browser.get("/map/leaflet.js", headers={"Accept-Encoding": "gzip, br"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await response.read()) == plain
    async with browser.get("/map/leaflet.js", headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers
        assert await response.read() == plain


@pytest.mark.parametrize(
    "path", ["/map/map.html", "/map/nothing.js", "/map/../page.py", "/map/%2e%2e/page.py", "/maps"]
)
async def test_nothing_else_is_served(browser: Browser, path: str) -> None:
    async with browser.get(path) as response:
        assert response.status == 404


async def test_a_slash_too_many_leads_to_the_page(browser: Browser) -> None:
    async with browser.get("/map/", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "../map")


async def test_a_person_who_opens_the_root_is_sent_to_the_map(browser: Browser) -> None:
    async with browser.get("/", headers=PERSON, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "map")
        assert response.headers["Vary"] == "Accept, Upgrade"
    async with browser.get("/", headers=PERSON) as response:
        assert await response.text() == PAGE


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param("/", {"Accept": "*/*"}, 426, id="curl"),
        pytest.param("/", {"Accept": "application/json"}, 426, id="a program"),
        pytest.param("/", {}, 426, id="says nothing"),
        pytest.param("/ws-live", PERSON, 426, id="the endpoint's own path"),
        pytest.param("/", {**PERSON, **UPGRADE}, 401, id="a WebSocket"),
        pytest.param("/", {**PERSON, "Upgrade": "h2c", "Connection": "Upgrade"}, 426, id="another upgrade"),
    ],
)
async def test_who_does_not_want_a_page_gets_what_the_contract_says(
    browser: Browser, path: str, headers: dict[str, str], status: int
) -> None:
    async with browser.get(path, headers=headers, skip_auto_headers=["Accept"], allow_redirects=False) as response:
        assert response.status == status


async def test_only_a_get_is_sent_to_the_map(browser: Browser) -> None:
    async with browser.post("/", headers=PERSON, allow_redirects=False) as response:
        assert response.status == 405


async def test_without_the_plugin_there_is_no_map_and_it_is_off_by_default(aiohttp_client: Open) -> None:
    assert "map" not in load(Settings, {}).plugins
    app = make_app({"METRICS_HOST": "127.0.0.1", "METRICS_PORT": "0", "LIVE_PLUGINS": ","})
    browser = await aiohttp_client(app)
    for path, status in (("/", 426), ("/map", 404), ("/map/main.js", 404)):
        async with browser.get(path, headers=PERSON, allow_redirects=False) as response:
            assert response.status == status, path


def test_the_page_has_the_client_that_others_are_given() -> None:
    """After a change: `cp client/live.js plugins/processor_live_map/static/`."""
    assert text("live.js") == (ROOT / "client" / "live.js").read_text(encoding="utf-8")
