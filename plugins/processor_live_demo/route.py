"""Where a car is that has driven so many metres of the rally's road, from Shkodër over the mountains to Theth."""

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

# The mean radius of the WGS 84 ellipsoid, metres.
EARTH_RADIUS_M = 6_371_009.0


class Place(NamedTuple):
    """A point of the road and the way the car looks."""

    lat: float
    """Degrees, WGS 84."""
    lon: float
    """Degrees, WGS 84."""
    altitude: float
    """Metres above the sea."""
    course: float
    """Degrees clockwise from north, 0 to below 360."""


Waypoint = tuple[float, float, float]

# Latitude, longitude (degrees) and altitude (metres): SH1 to Koplik, SH21 through Bogë and over Qafa e Thores to Theth.
SHKODER_TO_THETH: tuple[Waypoint, ...] = (
    (42.0693, 19.5126, 15),  # Shkodër
    (42.0781, 19.5098, 17),
    (42.0902, 19.5041, 20),
    (42.1046, 19.4969, 25),
    (42.1187, 19.4884, 29),
    (42.1329, 19.4797, 33),
    (42.1473, 19.4702, 39),
    (42.1612, 19.4611, 44),
    (42.1758, 19.4524, 49),
    (42.1904, 19.4452, 55),
    (42.2021, 19.4399, 60),
    (42.2136, 19.4364, 66),  # Koplik
    (42.2189, 19.4461, 74),
    (42.2263, 19.4578, 86),
    (42.2348, 19.4687, 101),
    (42.2441, 19.4779, 118),
    (42.2537, 19.4868, 139),
    (42.2629, 19.4967, 163),
    (42.2718, 19.5071, 188),
    (42.2807, 19.5165, 214),  # Dedaj
    (42.2893, 19.5249, 262),
    (42.2968, 19.5342, 301),
    (42.3049, 19.5427, 338),
    (42.3127, 19.5519, 377),
    (42.3204, 19.5608, 419),
    (42.3287, 19.5688, 466),
    (42.3369, 19.5759, 514),
    (42.3454, 19.5826, 563),
    (42.3541, 19.5894, 618),
    (42.3628, 19.5967, 672),
    (42.3709, 19.6052, 729),
    (42.3781, 19.6148, 787),
    (42.3848, 19.6246, 846),
    (42.3911, 19.6339, 904),
    (42.3968, 19.6437, 962),  # Bogë
    (42.3989, 19.6561, 1014),
    (42.4002, 19.6689, 1079),
    (42.4011, 19.6812, 1163),
    (42.3978, 19.6863, 1221),  # the hairpins
    (42.4001, 19.6921, 1287),
    (42.3961, 19.6958, 1352),
    (42.3986, 19.7019, 1418),
    (42.3944, 19.7061, 1489),
    (42.3969, 19.7128, 1556),
    (42.3931, 19.7184, 1622),
    (42.3919, 19.7266, 1689),  # Qafa e Thores
    (42.3884, 19.7318, 1611),
    (42.3908, 19.7371, 1532),
    (42.3872, 19.7409, 1447),
    (42.3899, 19.7462, 1358),
    (42.3861, 19.7506, 1263),
    (42.3893, 19.7561, 1161),
    (42.3867, 19.7622, 1042),
    (42.3894, 19.7689, 918),
    (42.3951, 19.7738, 762),  # Theth
)


class Route:
    """A road driven to its end and back, for ever."""

    def __init__(self, waypoints: Sequence[Waypoint] = SHKODER_TO_THETH) -> None:
        self._waypoints = waypoints
        # The metres from the first waypoint to each.
        self._marks = [0.0, *itertools.accumulate(itertools.starmap(_distance_m, itertools.pairwise(waypoints)))]

    @property
    def length_m(self) -> float:
        """The length of the road, one way, in metres."""
        return self._marks[-1]

    def at(self, distance_m: float) -> Place:
        """Return the place after `distance_m` metres of driving; continuous, as the car turns round at either end."""
        driven = distance_m % (2 * self.length_m)
        returning = driven > self.length_m
        mark = 2 * self.length_m - driven if returning else driven
        leg = min(bisect_right(self._marks, mark), len(self._marks) - 1)
        start, end = self._waypoints[leg - 1], self._waypoints[leg]
        share = (mark - self._marks[leg - 1]) / (self._marks[leg] - self._marks[leg - 1])
        lat, lon, altitude = (a + (b - a) * share for a, b in zip(start, end, strict=True))
        course = _course(end, start) if returning else _course(start, end)
        return Place(lat, lon, altitude, course)


def _distance_m(start: Waypoint, end: Waypoint) -> float:
    """Return the length of a leg; on a plane, which for a kilometre differs from the sphere by millimetres."""
    north, east = _offsets(start, end)
    return math.radians(math.hypot(north, east)) * EARTH_RADIUS_M


def _course(start: Waypoint, end: Waypoint) -> float:
    north, east = _offsets(start, end)
    return math.degrees(math.atan2(east, north)) % 360


def _offsets(start: Waypoint, end: Waypoint) -> tuple[float, float]:
    """Return how far north and east the leg goes, both in degrees of latitude."""
    return end[0] - start[0], (end[1] - start[1]) * math.cos(math.radians((start[0] + end[0]) / 2))
