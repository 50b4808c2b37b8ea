"""Can the map draw what the operator wants beneath the devices?"""

import json
from pathlib import Path
from typing import Any

from processor_live import StartError, one_line

NOTHING = b'{"type":"FeatureCollection","features":[]}'
DEPTHS = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
"""How deep the positions of a geometry lie in its `coordinates` (RFC 7946 §3.1)."""


def read_overlay(path: str) -> bytes:
    """Return the overlay as it is served; without a path, an empty one. Raise `StartError`."""
    if not path:
        return NOTHING
    try:
        collection = json.loads(Path(path).read_bytes())
        body = json.dumps(collection, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        fault = _fault(collection)
    except (OSError, ValueError, RecursionError) as error:
        fault = one_line(error)
    if fault:
        raise StartError(
            f"processor-live: LIVE_MAP_OVERLAY is {path!r}: it must be the path of a GeoJSON FeatureCollection: {fault}"
        )
    return body


def _fault(collection: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return what keeps a collection from being drawn, empty when nothing does."""
    match collection:
        case {"type": "FeatureCollection", "features": [*features]}:
            faults = (f"feature {number} cannot be drawn" for number, each in enumerate(features) if not _is_good(each))
            return next(faults, "")
    return "this is none"


def _is_good(feature: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    match feature:
        case {"type": "Feature", "geometry": {"type": str(kind), "coordinates": coordinates}} if kind in DEPTHS:
            return _are_positions(coordinates, DEPTHS[kind])
    return False


def _are_positions(coordinates: Any, depth: int) -> bool:  # noqa: ANN401 - whatever JSON holds
    if depth:
        return isinstance(coordinates, list) and all(_are_positions(each, depth - 1) for each in coordinates)
    match coordinates:
        case [float() | int(), float() | int(), *_]:
            return True
    return False
