"""What the operator says about the map is what the page gets, or one line that says what is wrong."""

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from processor_live.failure import StartError
from processor_live.settings import load
from processor_live_map.asset import security_policy
from processor_live_map.settings import MapSettings
from tests.running import app_with

Open = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]

ROUTE = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": "Bogë"},
            "geometry": {"type": "Point", "coordinates": [19.6437, 42.3968, 962]},
        },
        {
            "type": "Feature",
            "properties": None,
            "geometry": {"type": "MultiLineString", "coordinates": [[[19.5, 42], [19.6, 42.1]]]},
        },
    ],
}


async def fetched(aiohttp_client: Open, name: str, **environ: str) -> object:
    """Return what the page loads."""
    browser = await aiohttp_client(app_with("map", **environ))
    async with browser.get(f"/map/{name}") as response:
        assert response.content_type == "application/json"
        return await response.json()


def refusal(**environ: str) -> str:
    """Return the one line that refuses an environment."""
    with pytest.raises(StartError) as caught:
        app_with("map", **environ)
    (line,) = str(caught.value).splitlines()
    return line


async def test_the_page_is_told_its_settings(aiohttp_client: Open) -> None:
    assert await fetched(aiohttp_client, "config.json") == {
        "directus": "/",
        "signIn": "/admin/login",
        "tiles": "",
        "attribution": "",
    }
    assert await fetched(
        aiohttp_client,
        "config.json",
        LIVE_MAP_DIRECTUS_URL="/directus",
        LIVE_MAP_SIGN_IN_URL="https://id.rally.al/?next=map",
        LIVE_MAP_TILE_URL="/tiles/{z}/{x}/{y}.png",
        LIVE_MAP_TILE_ATTRIBUTION="© the <mapmakers>",
    ) == {
        "directus": "/directus",
        "signIn": "https://id.rally.al/?next=map",
        "tiles": "/tiles/{z}/{x}/{y}.png",
        "attribution": "© the <mapmakers>",
    }


@pytest.mark.parametrize(
    ("tiles", "images"),
    [
        ("", "'self'"),
        ("/tiles/{z}/{x}/{y}.png", "'self'"),
        ("https://tiles.rally.al/{z}/{x}/{y}.png?key=1;2", "'self' data: https://tiles.rally.al"),
        ("http://127.0.0.1:8080/{z}/{y}/{x}", "'self' data: http://127.0.0.1:8080"),
        ("https://{s}.tiles.rally.al/{z}/{x}/{y}{r}.png", "'self' data: https://*.tiles.rally.al"),
    ],
)
def test_images_may_come_from_where_the_tiles_are_and_nothing_else_may(tiles: str, images: str) -> None:
    policy = security_policy(load(MapSettings, {"LIVE_MAP_TILE_URL": tiles}).tile_origin())
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives.pop("img-src") == images
    assert "rally" not in str(directives)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LIVE_MAP_TILE_URL", "https://tiles.rally.al/{z}/{x}.png"),
        ("LIVE_MAP_TILE_URL", "https://tiles.rally.al; script-src */{z}/{x}/{y}"),
        ("LIVE_MAP_TILE_URL", "https://tiles.{s}.al/{z}/{x}/{y}"),
        ("LIVE_MAP_TILE_URL", "//tiles.rally.al/{z}/{x}/{y}"),
        ("LIVE_MAP_TILE_URL", "https://user:secret@tiles.rally.al/{z}/{x}/{y}"),
        ("LIVE_MAP_DIRECTUS_URL", "https://directus.rally.al/"),
        ("LIVE_MAP_DIRECTUS_URL", "//directus.rally.al/"),
        ("LIVE_MAP_DIRECTUS_URL", "/\\directus.rally.al/"),
        ("LIVE_MAP_DIRECTUS_URL", "directus/"),
        ("LIVE_MAP_SIGN_IN_URL", "javascript:alert(1)"),
        ("LIVE_MAP_SIGN_IN_URL", "login"),
    ],
)
def test_a_bad_value_stops_the_start_with_one_line(key: str, value: str) -> None:
    assert refusal(**{key: value}).startswith(f"processor-live: {key} is {value!r}: it must be a ")


async def test_the_overlay_is_the_operators(aiohttp_client: Open, tmp_path: Path) -> None:
    assert await fetched(aiohttp_client, "overlay.json") == {"type": "FeatureCollection", "features": []}
    path = tmp_path / "route.geojson"
    path.write_bytes(json.dumps(ROUTE).encode("utf-16"))
    assert await fetched(aiohttp_client, "overlay.json", LIVE_MAP_OVERLAY=str(path)) == ROUTE


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "JSONDecodeError: "),
        ('{"type": "FeatureCollection", "features": NaN}', "ValueError: "),
        ("[" * 100_000, "RecursionError: "),
        ("[]", "this is none"),
        ('{"type": "Topology"}', "this is none"),
        ('{"type": "FeatureCollection"}', "this is none"),
        *(
            (json.dumps({"type": "FeatureCollection", "features": [ROUTE["features"][0], feature]}), "feature 1 cannot")
            for feature in (
                None,
                {},
                {"type": "Feature", "geometry": None},
                {"type": "Feature", "geometry": {"type": "Circle", "coordinates": [1, 2]}},
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1]}},
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": ["1", "2"]}},
                {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [1, 2]}},
                {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[1, 2], [3, 4]]}},
            )
        ),
    ],
)
def test_an_overlay_that_cannot_be_drawn_stops_the_start(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "route.geojson"
    path.write_text(content, encoding="utf-8")
    begin = f"processor-live: LIVE_MAP_OVERLAY is {str(path)!r}: it must be the path of a GeoJSON FeatureCollection: "
    assert refusal(LIVE_MAP_OVERLAY=str(path)).startswith(begin + fault)


def test_an_overlay_that_is_not_there_stops_the_start() -> None:
    assert refusal(LIVE_MAP_OVERLAY="/nowhere/route").endswith(
        "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/route'"
    )


def test_who_has_no_leaflet_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xstatic.pkg.leaflet", None)
    assert refusal() == "processor-live: the plugin 'map' needs Leaflet: pip install xstatic-leaflet"
