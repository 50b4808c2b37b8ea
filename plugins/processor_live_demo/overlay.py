"""What does the map of the demo show beneath the cars? Their road, its villages, and the lake beside it, as GeoJSON."""

import json
from collections.abc import Sequence
from typing import Any

from processor_live_demo.route import SHKODER_TO_THETH, Waypoint

PLACES: dict[str, Waypoint] = {
    "Shkodër": (42.0693, 19.5126, 15),
    "Theth": (42.3951, 19.7738, 762),
    "Koplik": (42.2136, 19.4364, 66),
    "Bogë": (42.3968, 19.6437, 962),
    "Dedaj": (42.2807, 19.5165, 214),
    "Qafa e Thores": (42.3919, 19.7266, 1689),
}
"""The first ones first: where there is no room for all names, the last are left out."""
LAKE = "Liqeni i Shkodrës"
# Longitude, latitude: its shore from where the Buna leaves it, northwards first; drawn by hand, to a kilometre or two.
SHORE: tuple[tuple[float, float], ...] = (
    (19.487, 42.058), (19.480, 42.082), (19.462, 42.105), (19.438, 42.127), (19.421, 42.150), (19.408, 42.176),
    (19.391, 42.201), (19.376, 42.226), (19.380, 42.252), (19.397, 42.274), (19.416, 42.300), (19.431, 42.325),
    (19.439, 42.346), (19.421, 42.339), (19.396, 42.316), (19.364, 42.301), (19.330, 42.291), (19.290, 42.286),
    (19.250, 42.280), (19.206, 42.269), (19.165, 42.263), (19.131, 42.268), (19.100, 42.256), (19.115, 42.236),
    (19.150, 42.206), (19.190, 42.181), (19.226, 42.161), (19.270, 42.141), (19.310, 42.121), (19.346, 42.098),
    (19.386, 42.076), (19.430, 42.062), (19.465, 42.053), (19.487, 42.058),
)  # fmt: skip
LAKE_NAME_AT = (19.290, 42.200)


def overlay() -> str:
    """Return the collection as LIVE_MAP_OVERLAY takes it (docs/map.md)."""
    road = [_place(waypoint) for waypoint in SHKODER_TO_THETH]
    features = [
        _feature("Polygon", [SHORE], kind="water"),
        _feature("Point", LAKE_NAME_AT, kind="water", name=LAKE),
        _feature("LineString", road),
        *(_feature("Point", _place(waypoint), name=name) for name, waypoint in PLACES.items()),
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)


def _feature(geometry: str, coordinates: Sequence[Any], **properties: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": geometry, "coordinates": coordinates},
    }


def _place(waypoint: Waypoint) -> tuple[float, float]:
    """Return longitude and latitude, GeoJSON's order (RFC 7946 §3.1.1)."""
    lat, lon, _ = waypoint
    return lon, lat
