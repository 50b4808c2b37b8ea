"""A position finds its way from the stream to whoever follows its device's events, and to nobody else."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from processor_live_demo.access import Access
from tests.integration.platform import Platform, Viewer, moment, now_ms
from tests.servers import Database


async def test_a_viewer_gets_a_snapshot_and_then_within_a_second_what_is_new(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "352093080000001")
    ts = now_ms()
    database.add_position("352093080000001", moment(ts - 5_000), 41.33, 19.82, speed=55, angle=270)
    live = await platform.start()
    viewer = await live.viewer(cookie)
    assert await viewer.ask("subscribe", topic, id="one") == {
        "type": "subscribed",
        "topic": topic,
        "id": "one",
        "snapshot": [
            {
                "deviceId": "352093080000001",
                "lat": 41.33,
                "lon": 19.82,
                "ts": ts - 5_000,
                "speed": 55.0,
                "course": 270.0,
            }
        ],
    }
    async with asyncio.timeout(1):
        await platform.trackers.report("352093080000001", ts, latitude=41.34, longitude=19.83, speed=0, angle=0)
        assert await viewer.position() == {
            "type": "position",
            "topic": topic,
            "deviceId": "352093080000001",
            "lat": 41.34,
            "lon": 19.83,
            "ts": ts,
        }


async def test_every_viewer_of_an_event_gets_its_positions(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    live = await platform.start()
    viewers = [await live.viewer(cookie), await live.viewer(cookie)]
    for viewer in viewers:
        assert await viewer.snapshot(topic) == {}
    ts = now_ms()
    await platform.trackers.report("1", ts)
    for viewer in viewers:
        assert (await viewer.position())["ts"] == ts


async def test_a_device_in_two_events_reaches_both(
    platform: Platform, database: Database, access: Access, event: str, topic: str
) -> None:
    other = database.add_event()
    database.register(event, "1")
    database.register(other, "1")
    access.users["ana@rally.al"].events.add(other)
    live = await platform.start()
    one, both = [await live.viewer(access.sign_in("ana@rally.al")) for _ in range(2)]
    await one.snapshot(f"event:{other}")
    await both.snapshot(topic)
    await both.snapshot(f"event:{other}")
    await platform.trackers.report("1", now_ms())
    assert (await one.position())["topic"] == f"event:{other}"
    assert {(await both.position())["topic"] for _ in range(2)} == {topic, f"event:{other}"}


async def test_an_orphan_reaches_nobody(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    database.add_device("2")
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    ts = now_ms()
    for imei in ("2", "unheard-of", "1"):
        await platform.trackers.report(imei, ts)
    assert (await viewer.position())["deviceId"] == "1"


async def test_late_and_duplicate_records_are_not_shown(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1", "2")
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    ts = now_ms()
    for offset in (0, -1_000, 0, 5, 5, 3, 9):
        await platform.trackers.report("1", ts + offset)
    await platform.trackers.report("2", ts)
    while (await viewer.position())["deviceId"] == "1":
        pass
    assert [position["ts"] - ts for position in viewer.positions] == [0, 5, 9, 0]


async def test_an_unsubscribed_viewer_gets_nothing_more(
    platform: Platform, database: Database, access: Access, event: str, topic: str
) -> None:
    other = database.add_event()
    database.register(event, "1")
    database.register(other, "2")
    access.users["ana@rally.al"].events.add(other)
    live = await platform.start()
    viewer = await live.viewer(access.sign_in("ana@rally.al"))
    await viewer.snapshot(topic)
    await viewer.snapshot(f"event:{other}")
    assert await viewer.ask("unsubscribe", topic, id="x") == {"type": "unsubscribed", "topic": topic, "id": "x"}
    ts = now_ms()
    await platform.trackers.report("1", ts)
    await platform.trackers.report("2", ts)
    assert (await viewer.position())["deviceId"] == "2"


async def test_two_instances_each_deliver_everything(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    viewers = [await (await platform.start()).viewer(cookie) for _ in range(2)]
    for viewer in viewers:
        await viewer.snapshot(topic)
    ts = now_ms()
    for step in range(50):
        await platform.trackers.report("1", ts + step)
    for viewer in viewers:
        await viewer.until("1", ts + 49)
        assert [position["ts"] - ts for position in viewer.positions] == list(range(50))


async def test_the_durable_writers_group_is_never_touched(
    platform: Platform, database: Database, redis: Redis, stream: str, event: str, topic: str, cookie: str
) -> None:
    await redis.xgroup_create(stream, "processor", "$", mkstream=True)
    database.register(event, "1")
    live = await platform.start()
    viewer = await live.viewer(cookie)
    await viewer.snapshot(topic)
    ts = now_ms()
    sent = [await platform.trackers.report("1", ts + step) for step in range(20)]
    await viewer.until("1", ts + 19)
    (durable,) = [group for group in await redis.xinfo_groups(stream) if group["name"] == "processor"]
    assert (durable["pending"], durable["lag"], durable["consumers"]) == (0, 20, 0)
    await platform.stop()
    assert [group["name"] for group in await redis.xinfo_groups(stream)] == ["processor"]
    answer: Any = await redis.xreadgroup("processor", "writer", {stream: ">"})
    [[_, entries]] = answer
    assert [entry_id for entry_id, _ in entries] == sent
    assert sorted(await redis.keys(f"*{stream}*")) == [stream]


async def test_under_load_subscribed_comes_first_and_no_device_goes_backwards_or_is_left_behind(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    imeis = [str(number) for number in range(1, 9)]
    database.register(event, *imeis)
    live = await platform.start(LIVE_WS_MAX_COMMANDS_PER_SECOND="1000")
    start = now_ms()
    steps = 200

    async def watch(viewer: Viewer) -> None:
        shown: dict[str, int] = {}
        while set(shown.values()) != {start + steps - 1} or len(shown) < len(imeis):
            viewer.positions.clear()
            shown = {imei: entry["ts"] for imei, entry in (await viewer.snapshot(topic)).items()}
            assert viewer.positions == []
            while len(viewer.positions) < 25 and set(shown.values()) != {start + steps - 1}:
                position = await viewer.position()
                assert position["ts"] > shown.get(position["deviceId"], 0)
                shown[position["deviceId"]] = position["ts"]
            assert (await viewer.ask("unsubscribe", topic))["type"] == "unsubscribed"

    viewers = [await live.viewer(cookie) for _ in range(4)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(platform.trackers.drive(imeis, start, steps))
        for viewer in viewers:
            group.create_task(watch(viewer))
