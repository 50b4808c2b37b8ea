"""The rally's road is one continuous line that is driven to its end and back."""

import itertools
import math

import pytest

from processor_live_demo.route import SHKODER_TO_THETH, Place, Route

METRES_PER_DEGREE = 111_195.0


def metres(start: Place, end: Place) -> float:
    """Return the distance, on a plane, which is exact enough for neighbours."""
    north = (end.lat - start.lat) * METRES_PER_DEGREE
    east = (end.lon - start.lon) * METRES_PER_DEGREE * math.cos(math.radians(start.lat))
    return math.hypot(north, east)


def test_it_begins_in_shkoder_and_turns_round_in_theth() -> None:
    route = Route()
    assert route.at(0)[:3] == pytest.approx(SHKODER_TO_THETH[0])
    assert route.at(route.length_m)[:3] == pytest.approx(SHKODER_TO_THETH[-1])
    assert route.at(2 * route.length_m)[:3] == pytest.approx(SHKODER_TO_THETH[0])
    assert 50_000 < route.length_m < 90_000


def test_ten_metres_of_driving_never_move_the_car_further() -> None:
    route = Route()
    places = [route.at(mark) for mark in range(0, int(2.2 * route.length_m), 10)]
    steps = [metres(start, end) for start, end in itertools.pairwise(places)]
    assert max(steps) == pytest.approx(10, rel=0.01)
    on_a_leg = [step for step in steps if step > 9.9]
    assert len(on_a_leg) > 0.97 * len(steps)


def test_the_course_is_where_the_car_goes() -> None:
    route = Route()
    for mark in range(500, int(2 * route.length_m), 997):
        start, end = route.at(mark), route.at(mark + 0.1)
        if start.course == end.course:
            east = (end.lon - start.lon) * math.cos(math.radians(start.lat))
            driven = math.degrees(math.atan2(east, end.lat - start.lat)) % 360
            assert abs((driven - start.course + 180) % 360 - 180) < 0.5


def test_the_way_back_looks_the_other_way() -> None:
    route = Route()
    there, back = route.at(30_000), route.at(2 * route.length_m - 30_000)
    assert there[:3] == pytest.approx(back[:3])
    assert (there.course - back.course) % 360 == pytest.approx(180)


def test_the_cardinal_points() -> None:
    square = Route([(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.1, 0.1, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.0)])
    side = square.length_m / 4
    assert [square.at(side * leg + 1).course for leg in range(4)] == pytest.approx([0, 90, 180, 270], abs=0.01)
