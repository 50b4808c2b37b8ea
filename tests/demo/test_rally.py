"""The rally is continuous, repeatable, and has all the irregularities that the live channel must bear."""

import itertools
import re
from collections import defaultdict

import pytest

from processor_live_demo.rally import Rally, Record
from processor_live_demo.roster import Roster, make_roster

START = 1_767_225_600.0


def drive(roster: Roster, seconds: int, seed: int = 7) -> list[Record]:
    """Return all that arrives within `seconds`, ticking ten times a second."""
    rally = Rally(roster, seed=seed, start=START)
    return [record for tenth in range(seconds * 10) for record in rally.tick(START + tenth / 10)]


@pytest.fixture(scope="module")
def roster() -> Roster:
    return make_roster(7)


@pytest.fixture(scope="module")
def records(roster: Roster) -> list[Record]:
    return drive(roster, 600)


def test_the_roster_has_its_special_cases(roster: Roster) -> None:
    fields = [{entry.device for entry in event.entries} for event in roster.events]
    assert len(roster.devices) == 40
    assert fields[0] & fields[1] == {roster.shared}
    assert set(roster.devices) - (fields[0] | fields[1]) == {roster.orphan}
    assert len(roster.uncovered) == 5
    assert roster.faulty in roster.uncovered
    assert roster.faulty in fields[0]


def test_imeis_are_fifteen_digits_with_a_valid_check_digit(roster: Roster) -> None:
    imeis = {device.imei for device in roster.devices}
    assert len(imeis) == 40
    for imei in imeis:
        assert len(imei) == 15
        doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(imei)]
        assert sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def test_the_same_seed_is_the_same_rally(roster: Roster) -> None:
    assert make_roster(7) == roster
    assert make_roster(8) != roster
    assert drive(roster, 20) == drive(roster, 20)
    assert drive(roster, 20) != drive(roster, 20, seed=8)


def test_a_record_is_what_the_ingestion_writes(records: list[Record]) -> None:
    record = records[0]
    entry = record.entry()
    assert set(entry) == {"ts", "device_id", "codec", "payload"}
    assert set(record.payload) == {
        *("device_id", "timestamp", "latitude", "longitude", "altitude", "angle", "speed", "satellites", "priority"),
        "attributes",
    }
    assert entry["ts"] == record.payload["timestamp"]
    assert re.fullmatch(r"2026-01-01T00:00:00\.\d{3}Z", record.timestamp)
    assert {record.codec for record in records} == {"8", "8E", "16"}
    assert all(("__generation_type" in record.payload["attributes"]) == (record.codec == "16") for record in records)
    assert all(0 <= record.payload["angle"] < 360 for record in records)
    assert all(30 <= record.payload["speed"] <= 90 for record in records)


def test_every_device_sends_one_or_two_fixes_a_second(records: list[Record], roster: Roster) -> None:
    fixes: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        fixes[record.device_id].add(record.timestamp)
    covered = [device for device in roster.devices if device not in roster.uncovered]
    counts = {round(len(fixes[device.imei]) / 600, 1) for device in covered}
    assert counts == {1.0, 2.0}
    assert set(fixes) == {device.imei for device in roster.devices}


def test_positions_are_continuous(records: list[Record]) -> None:
    by_device: defaultdict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        by_device[record.device_id][record.timestamp] = record
    for fixes in by_device.values():
        track = [fixes[timestamp].payload for timestamp in sorted(fixes)]
        for before, after in itertools.pairwise(track):
            # 90 km/h for a second are 25 m: 0.00023 degrees of latitude, 0.0004 of longitude
            assert abs(after["latitude"] - before["latitude"]) < 0.0003
            assert abs(after["longitude"] - before["longitude"]) < 0.0004


def test_backlogs_arrive_late_in_order_and_between_live_records(records: list[Record], roster: Roster) -> None:
    late_by_device: defaultdict[str, list[str]] = defaultdict(list)
    interleaved: set[str] = set()
    newest: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for record in records:
        if (record.device_id, record.timestamp) in seen:
            continue
        seen.add((record.device_id, record.timestamp))
        if record.timestamp < newest.get(record.device_id, ""):
            late_by_device[record.device_id].append(record.timestamp)
        else:
            if late_by_device.get(record.device_id):
                interleaved.add(record.device_id)
            newest[record.device_id] = record.timestamp
    uncovered = {device.imei for device in roster.uncovered}
    assert set(late_by_device) == uncovered
    assert interleaved == uncovered
    assert all(late == sorted(late) and len(late) >= 20 for late in late_by_device.values())


def test_some_records_come_twice(records: list[Record]) -> None:
    distinct = {(record.device_id, record.timestamp) for record in records}
    assert 0.002 < 1 - len(distinct) / len(records) < 0.01


def test_a_lost_device_is_silent_and_comes_back(roster: Roster) -> None:
    rally = Rally(roster, seed=7, start=START)
    rally.tick(START + 5)
    rally.lose(roster.faulty, START + 5)
    assert roster.faulty.imei not in {record.device_id for record in rally.tick(START + 44)}
    assert roster.faulty.imei in {record.device_id for record in rally.tick(START + 47)}
