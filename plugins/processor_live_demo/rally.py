"""What the devices of a rally send, and when: a simulation without I/O, the same for the same seed."""

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.typing import EncodableT, FieldT

from processor_live_demo.roster import Device, Roster
from processor_live_demo.route import Route

SPEED_KMH = (30.0, 90.0)
# What a car gains or loses between two fixes at most, km/h.
SPEED_STEP_KMH = 4.0
FIX_INTERVALS_S = (0.5, 1.0)
GAP_S = (20.0, 40.0)
COVERED_S = (30.0, 90.0)
# How much of its backlog a device uploads beside each live record; some seconds for a gap, as over a poor connection.
BACKLOG_PER_FIX = 4
# Trackers repeat a record whose acknowledgement got lost.
DUPLICATE_PROBABILITY = 0.005


@dataclass(frozen=True)
class Record:
    """One record as the ingestion service puts it on the stream (docs/contract.md §6.1)."""

    device_id: str
    timestamp: str
    codec: str
    payload: Mapping[str, Any]

    def entry(self) -> dict[FieldT, EncodableT]:
        """Return the fields of its stream entry."""
        return {
            "ts": self.timestamp,
            "device_id": self.device_id,
            "codec": self.codec,
            "payload": json.dumps(self.payload, separators=(",", ":")),
        }


class Rally:
    """Forty cars on one road. `start` and all other times are seconds since the epoch."""

    def __init__(self, roster: Roster, *, seed: int, start: float, route: Route | None = None) -> None:
        self.roster = roster
        self._dice = random.Random(seed)
        route = route or Route()
        spread_m = route.length_m / len(roster.devices)
        self._cars = [
            _Car(device, route, number * spread_m, start, random.Random(self._dice.random()))
            for number, device in enumerate(roster.devices)
        ]
        for car in self._cars:
            if car.device in roster.uncovered:
                car.plan_gap()

    def tick(self, now: float) -> list[Record]:
        """Return the records that reach the ingestion service up to `now`; late ones mixed in as they arrive."""
        arriving = []
        for car in self._cars:
            for record in car.advance(now):
                arriving.append(record)
                if self._dice.random() < DUPLICATE_PROBABILITY:
                    arriving.append(record)
        return arriving

    def lose(self, device: Device, now: float) -> None:
        """Take a device out of coverage from `now` on, for as long as a gap may last."""
        for car in self._cars:
            if car.device == device:
                car.gap = (now, now + GAP_S[1])


class _Car:
    """One device, its car and its backlog."""

    def __init__(self, device: Device, route: Route, distance_m: float, start: float, dice: random.Random) -> None:
        self.device = device
        self.gap: tuple[float, float] | None = None
        self._route = route
        self._distance_m = distance_m
        self._dice = dice
        self._interval_s = dice.choice(FIX_INTERVALS_S)
        self._fix_at = start + dice.random() * self._interval_s
        self._speed_kmh = dice.uniform(*SPEED_KMH)
        self._backlog: deque[Record] = deque()

    def plan_gap(self) -> None:
        """Lose coverage some time after the next fix."""
        begin = self._fix_at + self._dice.uniform(*COVERED_S)
        self.gap = (begin, begin + self._dice.uniform(*GAP_S))

    def advance(self, now: float) -> Iterator[Record]:
        """Drive to `now`; yield the records that arrive meanwhile, a backlog in its own order between the live ones."""
        while self._fix_at <= now:
            record = self._fix()
            if self.gap is not None and self.gap[0] <= self._fix_at < self.gap[1]:
                self._backlog.append(record)
            else:
                yield record
                for _ in range(min(BACKLOG_PER_FIX, len(self._backlog))):
                    yield self._backlog.popleft()
                if self.gap is not None and self.gap[1] <= self._fix_at and not self._backlog:
                    self.plan_gap()
            self._drive()

    def _drive(self) -> None:
        low, high = SPEED_KMH
        step = self._dice.uniform(-SPEED_STEP_KMH, SPEED_STEP_KMH)
        self._speed_kmh = min(max(self._speed_kmh + step, low), high)
        self._fix_at += self._interval_s
        self._distance_m += self._speed_kmh / 3.6 * self._interval_s

    def _fix(self) -> Record:
        place = self._route.at(self._distance_m)
        fixed_at = datetime.fromtimestamp(self._fix_at, UTC).isoformat(timespec="milliseconds")
        timestamp = fixed_at.replace("+00:00", "Z")
        attributes: dict[str, Any] = {
            "239": 1,  # ignition
            "66": self._dice.randint(13_600, 14_400),  # the car's voltage, mV
            "16": {"__bigint": str(int(self._distance_m))},  # odometer, m
        }
        if self.device.codec == "8E":
            attributes["385"] = {"__buffer_b64": "AQIDBA=="}  # a beacon
        if self.device.codec == "16":
            attributes["__generation_type"] = 5
        payload = {
            "device_id": self.device.imei,
            "timestamp": timestamp,
            "latitude": round(place.lat, 7),
            "longitude": round(place.lon, 7),
            "altitude": round(place.altitude),
            "angle": round(place.course) % 360,
            "speed": round(self._speed_kmh),
            "satellites": self._dice.randint(9, 17),
            "priority": 0,
            "attributes": attributes,
        }
        return Record(self.device.imei, timestamp, self.device.codec, payload)
