"""Does a real client decode the compressed stream that it shares with all others? (RFC 7692)"""

import asyncio
import itertools

import pytest

from processor_live_demo.access import Access
from tests.integration.platform import Live, Platform, Viewer, now_ms
from tests.servers import Database

IMEIS = [f"35209308000000{number}" for number in range(10)]


@pytest.fixture
async def live(platform: Platform, database: Database, event: str) -> Live:
    database.register(event, *IMEIS)
    return await platform.start(LIVE_WS_MAX_COMMANDS_PER_SECOND="1000")


async def watch(viewer: Viewer, topic: str, last: int) -> None:
    """Follow a topic until every device is at `last`."""
    shown = {imei: entry["ts"] for imei, entry in (await viewer.snapshot(topic)).items()}
    while len(shown) < len(IMEIS) or set(shown.values()) != {last}:
        message = await viewer.position()
        if message["topic"] == topic:
            assert message["ts"] > shown.get(message["deviceId"], 0)
            shown[message["deviceId"]] = message["ts"]


async def test_viewers_who_join_and_leave_decode_the_stream(
    platform: Platform, live: Live, topic: str, cookie: str
) -> None:
    start = now_ms()
    last = start + 30_000

    async def come_and_go() -> None:
        viewer = await live.viewer(cookie, compress=15)
        for turn in range(5):
            await viewer.snapshot(topic)
            viewer.positions.clear()
            while len(viewer.positions) < 20 + turn:
                await viewer.position()
            await viewer.ask("unsubscribe", topic)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for compress in (15, 15, 0):
            group.create_task(watch(await live.viewer(cookie, compress=compress), topic, last))
        others = group.create_task(come_and_go())
        for ts in itertools.count(start):
            await platform.trackers.drive(IMEIS, ts, 1)
            if others.done():
                break
        await platform.trackers.drive(IMEIS, last, 1)


async def test_a_viewer_of_several_topics_decodes_them_all(
    platform: Platform, database: Database, access: Access, event: str, topic: str
) -> None:
    other = database.add_event()
    database.register(event, *IMEIS)
    database.register(other, *IMEIS[:5])
    access.users["ana@rally.al"].events.add(other)
    live = await platform.start()
    cookie = access.sign_in("ana@rally.al")
    start, steps = now_ms(), 100
    both = await live.viewer(cookie, compress=15)
    await both.snapshot(f"event:{other}")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(watch(both, topic, start + steps - 1))
        group.create_task(watch(await live.viewer(cookie, compress=15), topic, start + steps - 1))
        group.create_task(platform.trackers.drive(IMEIS, start, steps))
    assert {position["topic"] for position in both.positions} == {topic, f"event:{other}"}


async def sizes_of(live: Live, cookie: str, topic: str, offer: str, platform: Platform) -> tuple[str, list[bool]]:
    """Offer an extension; return what was agreed on, and for 20 position frames whether each was compressed."""
    reader, writer = await asyncio.open_connection(*live.url.removeprefix("http://").split(":"))
    request = (
        f"GET /ws-live HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Extensions: {offer}\r\n\r\n"
    )
    writer.write(request.encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (agreed,) = [
        line.partition(": ")[2] for line in head.splitlines() if line.startswith("sec-websocket-extensions")
    ] or [""]
    command = b'{"type":"subscribe","topic":"%s"}' % topic.encode()
    writer.write(bytes((0x81, 0x80 | len(command), 0, 0, 0, 0)) + command)
    compressed = []
    ts = now_ms()
    for step in range(-1, 20):  # the answer to the subscribe is the first frame
        first, size = await reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await reader.readexactly(2))
        await reader.readexactly(size)
        compressed.append(first == 0xC1)
        await platform.trackers.report(IMEIS[0], ts + step)
    writer.close()
    return agreed, compressed


@pytest.mark.parametrize(
    ("offer", "agreed", "compressed"),
    [
        ("permessage-deflate", "permessage-deflate", True),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate", True),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate", True),
        *((f"permessage-deflate; server_max_window_bits={bits}",) * 2 + (False,) for bits in range(9, 15)),
        ("permessage-deflate; server_no_context_takeover",) * 2 + (False,),
        ("x-webkit-deflate-frame", "", False),
    ],
)
async def test_a_client_that_cannot_share_the_stream_gets_it_plain(
    platform: Platform, live: Live, topic: str, cookie: str, offer: str, agreed: str, *, compressed: bool
) -> None:  # fmt: skip
    answered, frames = await sizes_of(live, cookie, topic, offer, platform)
    assert answered == (agreed and f"{agreed}; client_no_context_takeover")
    assert not frames[0]  # control messages never enter the window
    assert frames[-1] is compressed


async def test_compression_can_be_switched_off(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, *IMEIS)
    live = await platform.start(LIVE_WS_COMPRESSION="false")
    agreed, frames = await sizes_of(live, cookie, topic, "permessage-deflate", platform)
    assert (agreed, any(frames)) == ("", False)
