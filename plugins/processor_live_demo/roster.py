"""Who takes part in the rally: devices, the entries they are mounted in, and the events of the entries."""

import random
import uuid
from dataclasses import dataclass

# A type allocation code of a tracker's modem, the first eight digits of its IMEIs.
TYPE_ALLOCATION_CODE = "35209308"
DEVICES = 40
FIRST_EVENT_DEVICES = 25
CODECS = ("8", "8E", "16")


@dataclass(frozen=True)
class Device:
    """A tracker: the business side knows it by its uuid, the stream by its IMEI."""

    id: str
    imei: str
    codec: str


@dataclass(frozen=True)
class Entry:
    """One car in one event with the tracker it carries."""

    id: str
    device: Device


@dataclass(frozen=True)
class Event:
    """A rally with its entries."""

    id: str
    name: str
    organization_id: str
    entries: tuple[Entry, ...]

    @property
    def topic(self) -> str:
        """The topic to subscribe to."""
        return f"event:{self.id}"


@dataclass(frozen=True)
class Roster:
    """All devices and events, with the special cases that a live channel has to get right."""

    devices: tuple[Device, ...]
    events: tuple[Event, ...]
    shared: Device
    """Takes part in both events."""
    orphan: Device
    """Takes part in none."""
    faulty: Device
    """An operator flagged its newest stored position as faulty."""
    uncovered: tuple[Device, ...]
    """Lose coverage now and then and upload their backlog afterwards; `faulty` is one of them."""


def make_roster(seed: int) -> Roster:
    """Return the same roster for the same seed."""
    dice = random.Random(seed)
    first_serial = dice.randrange(900_000)
    devices = tuple(
        Device(_uuid(dice), _imei(first_serial + number), CODECS[number % len(CODECS)]) for number in range(DEVICES)
    )
    organization = _uuid(dice)
    *_, orphan = devices
    shared = devices[FIRST_EVENT_DEVICES - 1]
    fields = {
        "Rally of the Accursed Mountains": devices[:FIRST_EVENT_DEVICES],
        "Classic Cup of Theth": devices[FIRST_EVENT_DEVICES - 1 : -1],
    }
    events = tuple(
        Event(_uuid(dice), name, organization, tuple(Entry(_uuid(dice), device) for device in field))
        for name, field in fields.items()
    )
    uncovered = tuple(devices[number] for number in (2, 7, 11, 19, 30))
    return Roster(devices, events, shared=shared, orphan=orphan, faulty=uncovered[0], uncovered=uncovered)


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


def _imei(serial: int) -> str:
    """Return 15 digits: type, serial number, and the Luhn check digit (3GPP TS 23.003 annex B)."""
    digits = f"{TYPE_ALLOCATION_CODE}{serial:06}"
    doubled = [int(digit) * (1 + position % 2) for position, digit in enumerate(digits)]
    check = -sum(value // 10 + value % 10 for value in doubled) % 10
    return f"{digits}{check}"
