"""Does a browser decode the shared stream, while others join and leave?"""

import asyncio

from playwright.async_api import Page

from tests.integration.platform import Platform, now_ms
from tests.servers import Database

IMEIS = [f"35209308000000{number}" for number in range(10)]
STEPS = 20
TIMEOUT_MS = 20_000

FOLLOW = """([url, topic]) => new Promise((resolve, reject) => {
    window.shown = {}; window.backwards = 0; window.count = 0
    const socket = new WebSocket(url)
    socket.onerror = () => reject(new Error('the socket failed'))
    socket.onclose = (event) => { window.closeCode = event.code }
    socket.onopen = () => socket.send(JSON.stringify({type: 'subscribe', topic}))
    socket.onmessage = ({data}) => {
        const message = JSON.parse(data)
        const positions = message.type === 'subscribed' ? message.snapshot : [message]
        for (const {deviceId, ts} of positions) {
            if (ts <= (shown[deviceId] ?? 0)) window.backwards += 1
            shown[deviceId] = ts
        }
        window.count += positions.length
        if (message.type === 'subscribed') resolve(socket.extensions)
    }
})"""
CAUGHT_UP = "([devices, last]) => Object.values(shown).filter((ts) => ts === last).length === devices"


async def test_a_browser_decodes_what_it_shares_with_others(
    platform: Platform, database: Database, page: tuple[Page, str], event: str, topic: str, cookie: str
) -> None:
    database.register(event, *IMEIS)
    browser, origin = page
    live = await platform.start(LIVE_WS_ALLOWED_ORIGINS=origin)
    url = live.url.replace("http", "ws", 1) + "/ws-live"
    start = last = now_ms()

    async def come_and_go() -> None:
        for _ in range(5):
            viewer = await live.viewer(cookie, compress=15)
            await viewer.snapshot(topic)
            await viewer.position()
            await viewer.socket.close()

    assert await browser.evaluate(FOLLOW, [url, topic]) == "permessage-deflate; client_no_context_takeover"
    async with asyncio.TaskGroup() as group:
        others = group.create_task(come_and_go())
        while not others.done():
            await platform.trackers.drive(IMEIS, last + 1, STEPS)
            last += STEPS
    await browser.wait_for_function(CAUGHT_UP, arg=[len(IMEIS), last], timeout=TIMEOUT_MS)
    assert await browser.evaluate("[backwards, window.closeCode]") == [0, None]
    assert len(IMEIS) < await browser.evaluate("count") <= len(IMEIS) * (last - start)
    await platform.stop()
    await browser.wait_for_function("window.closeCode === 1012", timeout=TIMEOUT_MS)
