"""Whatever is in the stream, viewers get what is good of it, and the operator learns of the rest."""

from redis.asyncio import Redis

from tests.core.wire import metric
from tests.integration.platform import Platform, moment, now_ms
from tests.servers import Database

IMEI = "352093080000001"
TS = now_ms()
MALFORMED: dict[str, dict[str, object]] = {
    "a missing coordinate": {"latitude": None},
    "text for a number": {"latitude": "41.5"},
    "a bigint for a coordinate": {"longitude": {"__bigint": "19"}},
    "a buffer for a device": {"device_id": {"__buffer_b64": "AQID"}},
    "not a number": {"latitude": float("nan")},
    "infinity": {"longitude": float("-inf")},
    "too far north": {"latitude": 90.0001},
    "degrees times ten million": {"longitude": 198_100_000},
    "the year 1": {"timestamp": "0001-01-01T00:00:00Z"},
    "the thirtieth of February": {"timestamp": "2026-02-30T00:00:00Z"},
    "a number for a date": {"timestamp": TS},
    "no device": {"device_id": ""},
    "a list for a speed": {"speed": [70]},
}
RAW = {
    "nothing": b"",
    "no JSON": b"lat=41.5",
    "half a record": b'{"device_id": "352093080000001", "lati',
    "no record": b"[null]",
    "invalid UTF-8": b'{"device_id": "\xff\xfe"}',
    "UTF-16": '{"device_id": "1"}'.encode("utf-16"),
    "deep nesting": b'{"attributes":' * 4_000,
    "deeper nesting": b"[" * 60_000,
    "zeros": bytes(1_000),
}
HARMLESS: dict[str, dict[str, object]] = {
    "unknown keys": {"hdop": 0.7, "": {"device_id": None}},
    "sentinels among the attributes": {
        "attributes": {"66": {"__bigint": "18446744073709551615"}, "1": {"__buffer_b64": "/w=="}}
    },
    "attributes that are none": {"attributes": "none"},
    "numbers nobody reads": {"altitude": 1e308, "priority": -1},
}
NAMES = [
    "'; DROP TABLE positions; --",
    "1 OR 1=1",
    "%s%(imei)s",
    "../../../../etc/passwd",
    "event:6d2f3c0e-8a43-4c58-9d2c-0f1a2b3c4d5e",
    "<script>alert(1)</script>",
    '"}\\u0000{"',
    "Durrës \N{CHEQUERED FLAG}",
]


async def test_poison_of_every_kind_is_counted_and_what_is_good_arrives(
    platform: Platform, database: Database, redis: Redis, stream: str, event: str, topic: str, cookie: str
) -> None:
    database.register(event, IMEI)
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    trackers = platform.trackers
    flaws = ("malformed", "no-payload", "too-large", "future", "no-fix")
    before = {flaw: metric("live_unusable_records_total", flaw=flaw) for flaw in flaws}
    ts = now_ms()
    for fields in MALFORMED.values():
        await trackers.report(IMEI, ts, **fields)
    for payload in RAW.values():
        await trackers.send(payload)
    await trackers.report(IMEI, ts, attributes={"1": "x" * 1_000_000})
    await redis.xadd(stream, {"device_id": IMEI, "codec": "8E"})
    await trackers.report(IMEI, ts + 3_600_000)
    await trackers.report(IMEI, ts, timestamp="9999-12-31T23:59:59Z")
    await trackers.report(IMEI, ts, latitude=0, longitude=0, satellites=0)
    for step, fields in enumerate(HARMLESS.values()):
        await trackers.report(IMEI, ts + step, **fields)
    await viewer.until(IMEI, ts + len(HARMLESS) - 1)
    assert [position["ts"] - ts for position in viewer.positions] == list(range(len(HARMLESS)))
    counted = {flaw: metric("live_unusable_records_total", flaw=flaw) - number for flaw, number in before.items()}
    assert counted == {
        "malformed": len(MALFORMED) + len(RAW), "no-payload": 1, "too-large": 1, "future": 2, "no-fix": 1,
    }  # fmt: skip


async def test_a_stream_that_makes_no_sense_degrades_the_service_until_it_does_again(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    """A producer with another format, or a clock that is wrong: else a silent map would be the only sign."""
    database.register(event, IMEI)
    live = await platform.start()
    ts = now_ms()
    for step in range(150):
        await platform.trackers.report(IMEI, ts + 3_600_000 + step)
    checks = (await live.until("degraded"))["checks"]
    assert checks["records"] == "100% of the records cannot be used, most of them: future"
    assert metric("live_check", check="records") == 0
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    for step in range(300):
        await platform.trackers.report(IMEI, ts + step)
    await viewer.until(IMEI, ts + 299)
    await live.until("ready")


async def test_a_device_may_have_any_name(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    """Like SQL, a path, a topic, HTML, a format or JSON."""
    database.register(event, *NAMES)
    ts = now_ms()
    for name in NAMES:
        database.add_position(name, moment(ts))
    live = await platform.start()
    viewer = await live.viewer(cookie)
    assert {name: entry["ts"] for name, entry in (await viewer.snapshot(topic)).items()} == dict.fromkeys(NAMES, ts)
    for name in NAMES:
        await platform.trackers.report(name, ts + 1)
        assert (await viewer.position())["deviceId"] == name
