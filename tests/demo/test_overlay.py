"""What the map of the demo shows beneath the cars is their road, and what the plugin takes."""

import itertools
import json
from pathlib import Path

from processor_live_demo.overlay import PLACES, SHORE, overlay
from processor_live_demo.route import SHKODER_TO_THETH
from processor_live_map.overlay import read_overlay


def test_the_plugin_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "overlay.geojson"
    path.write_text(overlay(), encoding="utf-8")
    assert json.loads(read_overlay(str(path))) == json.loads(overlay())


def test_the_places_are_on_the_road_and_the_road_is_the_cars() -> None:
    assert {*PLACES.values()} <= {*SHKODER_TO_THETH}
    (road,) = [
        feature["geometry"]["coordinates"]
        for feature in json.loads(overlay())["features"]
        if feature["geometry"]["type"] == "LineString"
    ]
    assert road == [[lon, lat] for lat, lon, _ in SHKODER_TO_THETH]


def test_the_lake_is_closed_and_nobody_drives_into_it() -> None:
    assert SHORE[0] == SHORE[-1]
    for lat, lon, _ in SHKODER_TO_THETH:
        east = [
            (lat - south) / (north - south) * (end - start) + start
            for (start, south), (end, north) in itertools.pairwise(SHORE)
            if min(south, north) <= lat < max(south, north)
        ]
        assert sum(shore > lon for shore in east) % 2 == 0
