"""What may be set about the map, and what does that allow the page to load?"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from processor_live import text

PATH = r"/(?!/)[^\s\\]*"
"""Not two slashes: for a browser that is another host."""
HOST = r"(?:\{s\}\.)?[A-Za-z0-9.-]+(?::[0-9]+)?"
TILES = rf"(?=.*\{{z\}})(?=.*\{{x\}})(?=.*\{{-?y\}})(?:https?://{HOST})?{PATH}|"


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """The keys of the map."""

    directus_url: str = text(
        "LIVE_MAP_DIRECTUS_URL", "/", PATH, "a path on the map's own origin, like /directus/",
        "where the browser reaches Directus, which lists the events",
    )  # fmt: skip
    sign_in_url: str = text(
        "LIVE_MAP_SIGN_IN_URL", "/admin/login", rf"{PATH}|https?://\S+", "a path or a URL http(s)://…",
        "where one signs in",
    )  # fmt: skip
    tile_url: str = text(
        "LIVE_MAP_TILE_URL", "", TILES, "a URL or path with {z}, {x} and {y}",
        "the map's tiles; empty: none, and no other host is asked for anything",
    )  # fmt: skip
    tile_attribution: str = text(
        "LIVE_MAP_TILE_ATTRIBUTION", "", ".*", "one line of text", "who is to be credited for the tiles"
    )
    overlay: str = text(
        "LIVE_MAP_OVERLAY", "", ".*", "the path of a GeoJSON FeatureCollection", "what is drawn beneath the devices"
    )

    def tile_origin(self) -> str:
        """Return the source that a Content-Security-Policy has to allow for the tiles; empty when there is none."""
        tiles = urlsplit(self.tile_url)
        return f"{tiles.scheme}://{tiles.netloc.replace('{s}', '*')}" if tiles.netloc else ""
