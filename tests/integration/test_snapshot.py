"""What does a new viewer see at once? The newest of what the durable store and the stream know (G3)."""

from typing import Any

from tests.integration.platform import Platform, moment, now_ms
from tests.servers import Database

FLAG = "UPDATE positions SET faulty = true WHERE device_id = %s AND ts = %s"


async def test_a_faulty_newest_row_gives_way_to_the_next_best(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1", "2", "3")
    ts = now_ms()
    database.add_position("1", moment(ts - 2_000), 41.1, 19.1)
    database.add_position("1", moment(ts - 1_000), 41.2, 19.2, faulty=True)
    database.add_position("2", moment(ts - 1_000), faulty=True)
    live = await platform.start()
    snapshot = await (await live.viewer(cookie)).snapshot(topic)
    assert snapshot == {"1": {"deviceId": "1", "lat": 41.1, "lon": 19.1, "ts": ts - 2_000}}


async def test_a_position_that_is_on_the_stream_but_not_yet_in_postgres_is_in_the_snapshot(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1", "2")
    ts = now_ms()
    database.add_position("1", moment(ts - 60_000))
    await platform.trackers.report("1", ts - 2_000, latitude=41.7)
    live = await platform.start()
    viewer = await live.viewer(cookie)
    assert {imei: entry["ts"] for imei, entry in (await viewer.snapshot(topic)).items()} == {"1": ts - 2_000}
    await platform.trackers.report("2", ts - 1_000)
    await platform.trackers.report("1", ts)
    await viewer.until("1", ts)
    snapshot = await (await live.viewer(cookie)).snapshot(topic)
    assert {imei: entry["ts"] for imei, entry in snapshot.items()} == {"1": ts, "2": ts - 1_000}


async def test_a_position_flagged_faulty_in_postgres_is_not_resurrected_from_memory(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    ts = now_ms()
    database.add_position("1", moment(ts - 1_000), 41.1, 19.1)
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    await platform.trackers.report("1", ts, latitude=10)
    await viewer.until("1", ts)
    database.add_position("1", moment(ts), 10, faulty=True)
    other = await live.viewer(cookie)
    assert (await other.snapshot(topic))["1"]["ts"] == ts - 1_000
    await platform.trackers.report("1", ts)
    await platform.trackers.report("1", ts + 1_000)
    assert (await other.position())["ts"] == ts + 1_000


async def test_a_row_newer_than_the_stream_has_shown_goes_to_the_other_viewers_too(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    live = await platform.start()
    first = await live.viewer(cookie)
    assert await first.snapshot(topic) == {}
    ts = now_ms()
    database.add_position("1", moment(ts))
    assert (await (await live.viewer(cookie)).snapshot(topic))["1"]["ts"] == ts
    assert (await first.position())["ts"] == ts


async def test_a_row_dated_far_in_the_future_does_not_freeze_its_device(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    """And what is no position hides no other device's."""
    database.register(event, "1", "2", "'; DROP TABLE positions; --\n")
    ts = now_ms()
    for date in ("infinity", "294276-12-31", "2100-01-01", "-infinity", "4713-01-01 BC"):
        database.add_position("1", moment(ts))
        database.execute("UPDATE positions SET ts = %s, ingested_at = ts WHERE ts = %s", (date, moment(ts)))
    database.add_position("1", moment(ts - 2_000), float("nan"), float("inf"), speed=float("nan"))
    database.add_position("1", moment(ts - 3_000), 41.1, 19.1, angle=float("inf"))
    database.add_position("2", moment(ts), 90.5)
    database.add_position("'; DROP TABLE positions; --\n", moment(ts), 41.3, 19.3)
    live = await platform.start()
    viewer = await live.viewer(cookie)
    assert await viewer.snapshot(topic) == {
        "1": {"deviceId": "1", "lat": 41.1, "lon": 19.1, "ts": ts - 3_000},
        "'; DROP TABLE positions; --\n": {
            "deviceId": "'; DROP TABLE positions; --\n", "lat": 41.3, "lon": 19.3, "ts": ts,
        },
    }  # fmt: skip
    await platform.trackers.report("1", ts - 1_000)
    await viewer.until("1", ts - 1_000)


async def test_without_postgres_a_subscribe_is_answered_with_what_the_stream_has_shown(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    ts = now_ms()
    await platform.trackers.report("1", ts)
    live = await platform.start(LIVE_SNAPSHOT_TIMEOUT_MS="200")
    database.execute("BEGIN")
    database.execute("LOCK TABLE positions")
    try:
        snapshot = await (await live.viewer(cookie)).snapshot(topic)
    finally:
        database.execute("ROLLBACK")
    assert list(snapshot) == ["1"]
    assert "TimeoutError" in (await live.until("degraded"))["checks"]["snapshot"]
    await (await live.viewer(cookie)).snapshot(topic)
    await live.until("ready")


async def test_a_device_registered_during_the_race_appears_with_its_latest_position(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    live = await platform.start(LIVE_DEVICE_EVENT_REFRESH_MS="100")
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    ts = now_ms()
    await platform.trackers.report("2", ts)
    await platform.trackers.report("1", ts)
    assert (await viewer.position())["deviceId"] == "1"
    database.register(event, "2")
    assert (await viewer.position())["deviceId"] == "2"


async def test_attributes_are_sent_only_on_request(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1", "2")
    ts = now_ms()
    stored: dict[str, Any] = {"239": 1, "66": {"__bigint": "123"}}
    database.add_position("1", moment(ts), attributes=stored)
    for asked in (True, False):
        live = await platform.start(LIVE_INCLUDE_ATTRIBUTES=str(asked))
        viewer = await live.viewer(cookie)
        assert (await viewer.snapshot(topic))["1"].get("attributes") == (stored if asked else None)
        ts += 1
        await platform.trackers.report("2", ts, attributes=stored)
        assert (await viewer.position()).get("attributes") == (stored if asked else None)
