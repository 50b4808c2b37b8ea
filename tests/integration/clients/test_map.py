"""Does a person see on the map what the devices do, and in words why there is nothing to be seen?"""

import asyncio
import base64
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.test_utils import TestServer

from processor_live.endpoint import CONNECTIONS
from processor_live_demo.access import Access
from tests.integration.clients.chromium import Tab, chromium
from tests.integration.clients.conftest import IMEIS, MAP, quiet_tab
from tests.integration.conftest import ANA
from tests.integration.platform import Live, Platform, moment, now_ms
from tests.servers import Database

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
MINUTE_MS = 60_000

# The canvas of the markers, and those of its pixels that are a marker's, which alone have colours: [left, top, alpha].
MARKED = """(() => {
    const canvas = document.querySelector('.leaflet-devices-pane canvas:last-child')
    const {width, height} = canvas ?? {}
    const pixels = []
    if (!width) return {canvas, pixels}
    const copy = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true})
    copy.drawImage(canvas, 0, 0)
    const {data} = copy.getImageData(0, 0, width, height)
    for (let n = 0; n < width * height; n++) {
        if (!data[4 * n + 3]) continue
        const [red, green, blue, alpha] = data.subarray(4 * n, 4 * n + 4)
        if (Math.max(red, green, blue) - Math.min(red, green, blue) < 60) continue
        pixels.push([n % width, Math.floor(n / width), alpha])
    }
    return {canvas, pixels}
})()"""

# How far the middle of all markers is from that of the map, in pixels; null without any.
CENTRE = f"""() => {{
    const {{canvas, pixels}} = {MARKED}
    if (!pixels.length) return null
    const [own, map] = [canvas, canvas.closest('#map')].map((element) => element.getBoundingClientRect())
    const [x, y] = [0, 1].map((part) => pixels.reduce((sum, pixel) => sum + pixel[part], 0) / pixels.length)
    return [x + own.x - map.x - map.width / 2, y + own.y - map.y - map.height / 2]
}}"""


def in_the_middle(centre: tuple[float, float] | None) -> bool:
    """Return whether the map has come to rest with its only device in the middle."""
    return centre is not None and max(map(abs, centre)) < 5


async def test_the_map_shows_the_devices_of_the_snapshot_to_whoever_opens_the_service(tab: Tab) -> None:
    await tab.go("/")
    await tab.reads("#status", "Live")
    await tab.reads("#count", "3")
    assert await tab.page.locator("#event option").all_inner_texts() == ["Rally of Theth"]
    assert await tab.page.locator("#list .name").all_inner_texts() == ["1001", "1002", "1003"]
    assert await tab.page.title() == "Rally of Theth – live"  # noqa: RUF001 - a dash
    await tab.until(CENTRE, bool)
    assert await tab.page.locator(".leaflet-shapes-pane path").count() == 2, "a road and its edges"


async def test_a_marker_moves_with_its_device_and_so_does_the_text(tab: Tab, live: Live, database: Database) -> None:
    database.execute("DELETE FROM positions WHERE device_id <> %s", (IMEIS[0],))
    await tab.go("/map")
    await tab.reads("#count", "1")
    before, _ = await tab.until(CENTRE, in_the_middle)
    await live.platform.trackers.report(IMEIS[0], now_ms(), latitude=41.5, longitude=19.505, speed=87, angle=90)
    await tab.reads("#list .motion", "87 km/h E")
    _, south = await tab.until(CENTRE, lambda centre: centre[0] > before + 20)
    assert abs(south) < 5
    await tab.reads("#rate", "0")
    await live.platform.trackers.report(IMEIS[1], now_ms())
    await tab.reads("#count", "2")


async def test_what_is_old_is_faded_and_says_for_how_long(tab: Tab, database: Database) -> None:
    for imei, minutes in zip(IMEIS, (0, 2, 7), strict=True):
        database.execute(
            "UPDATE positions SET ts = %s WHERE device_id = %s", (moment(now_ms() - minutes * MINUTE_MS), imei)
        )
    await tab.go("/map")
    await tab.reads("#worst-age", "7 min")
    assert await tab.page.locator("#list .age").nth(1).inner_text() == "2 min"
    fading = await tab.page.locator("#list li").evaluate_all("(rows) => rows.map((row) => row.dataset.fading)")
    assert fading == ["0", "1", "2"]


async def test_a_device_is_followed_by_a_click_on_its_marker_and_by_the_keyboard(tab: Tab, database: Database) -> None:
    database.execute("DELETE FROM positions WHERE device_id <> %s", (IMEIS[0],))
    await tab.go("/map")
    await tab.until(CENTRE, in_the_middle)
    await tab.page.click("#map")  # in its middle, where the only device is
    await tab.reads("#release", "Following 1001")
    await tab.page.keyboard.press("Escape")
    await tab.page.locator("#release").wait_for(state="hidden")
    await tab.page.focus("#find")
    await tab.page.keyboard.press("Tab")
    await tab.page.keyboard.press("Enter")
    await tab.reads("#release", "Following 1001")
    assert await tab.page.locator("#list button[aria-pressed=true]").count() == 1


async def test_the_list_is_one_stop_for_the_tab_key_and_can_be_searched(tab: Tab) -> None:
    await tab.go("/map")
    await tab.reads("#count", "3")
    await tab.page.focus("#find")
    focused = "document.activeElement.title"
    for key, expected in (("Tab", 0), ("ArrowDown", 1), ("End", 2), ("ArrowDown", 2), ("Home", 0)):
        await tab.page.keyboard.press(key)
        assert await tab.page.evaluate(focused) == IMEIS[expected], key
    await tab.page.keyboard.press("Tab")
    assert await tab.page.evaluate(focused) == "", "the list is left"
    await tab.page.fill("#find", "1003")
    assert await tab.page.locator("#list .name:visible").all_inner_texts() == ["1003"]
    await tab.page.focus("#find")
    await tab.page.keyboard.press("Tab")
    assert await tab.page.evaluate(focused) == IMEIS[2]


async def test_an_event_that_is_not_open_is_refused_in_words_and_another_is_offered(
    tab: Tab, database: Database, access: Access
) -> None:
    closed = database.add_event()
    await tab.go(f"/map#{closed}")
    await tab.reads("#notice", "This event is not open to you")
    await tab.reads("#status", "This event is not open to you")
    await tab.reads("#count", "0")
    await tab.page.click("text=Watch Rally of Theth")
    await tab.reads("#status", "Live")
    await tab.page.locator("#notice").wait_for(state="hidden")
    await tab.page.go_back()
    await tab.reads("#notice", "This event is not open to you")
    await tab.reads("#count", "0")
    access.users[ANA].events.add(closed)
    await tab.page.click("text=Ask again")
    await tab.reads("#status", "No positions yet")


async def test_an_event_that_is_closed_to_who_watches_it_is_gone_after_a_reconnect(
    tab: Tab, live: Live, access: Access
) -> None:
    await tab.go("/map")
    await tab.reads("#count", "3")
    access.users[ANA].events.clear()
    for connection in [*live.app[CONNECTIONS]]:
        connection.cut()
    await tab.reads("#notice", "This event is not open to you")
    await tab.reads("#count", "0")
    assert await tab.page.locator("#list li").count() == 0


async def test_who_may_see_no_event_is_told_so_and_may_ask_again(tab: Tab, access: Access, event: str) -> None:
    access.users[ANA].events.clear()
    await tab.go("/map")
    await tab.reads("#notice", "There is no event for you")
    access.users[ANA].events.add(event)
    await tab.page.click("text=Try again")
    await tab.reads("#status", "Live")


async def test_until_another_event_has_come_nothing_is_said_of_the_one_before(
    tab: Tab, access: Access, database: Database, event: str
) -> None:
    is_open = asyncio.Event()

    async def slowly(_: web.Request) -> web.Response:
        await is_open.wait()
        return web.json_response({"data": {"id": event}})

    await tab.go(f"/map#{database.add_event()}")
    await tab.reads("#status", "This event is not open to you")
    access.overrides["events"] = slowly
    await tab.page.click("text=Watch Rally of Theth")
    await tab.reads("#status", "Connecting…")
    is_open.set()
    await tab.reads("#status", "Live")


async def test_events_without_names_are_called_by_their_ids(tab: Tab, access: Access, event: str) -> None:
    access.names = {}
    await tab.go("/map")
    await tab.reads("#status", "Live")
    await tab.reads("#event", f"Event {event[:8]}")
    assert tab.complaints == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]
    tab.complaints.clear()


async def test_who_is_not_signed_in_is_led_there_and_finds_the_map_afterwards(live: Live) -> None:
    async with quiet_tab(live.url) as tab:
        tab.unavoidable = "status of 401"
        await tab.go("/map")
        await tab.reads("#notice", "Sign in to see where the devices are")
        await tab.page.get_by_role("link", name="Sign in", exact=True).click()
        await tab.page.click("button")
        await tab.reads("body", f"Signed in as {ANA}")
        await tab.page.click("text=Rally of Theth")
        await tab.reads("#status", "Live")


async def test_tiles_come_from_where_the_operator_says_and_are_credited(
    platform: Platform,
    access: Access,
    cookie: str,
    event: str,
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]],
) -> None:
    async def tile(_: web.Request) -> web.Response:
        return web.Response(body=PIXEL, content_type="image/png")

    access.names = {event: "Rally of Theth"}
    app = web.Application()
    app.router.add_get("/{z}/{x}/{y}.png", tile)
    server = await aiohttp_server(app)
    origin = str(server.make_url("")).rstrip("/")
    live = await platform.start(
        **MAP,
        LIVE_MAP_TILE_URL=f"{origin}/{{z}}/{{x}}/{{y}}.png",
        LIVE_MAP_TILE_ATTRIBUTION="© <b>mapmakers</b>",
    )
    async with chromium() as browser:
        tab = await Tab.open(browser, live.url, cookie)
        await tab.go("/map")
        await tab.reads(".leaflet-control-attribution", "© <b>mapmakers</b>")
        await tab.page.locator(".leaflet-tile-loaded").first.wait_for()
        assert tab.asked == {live.url, origin}
        assert tab.complaints == []
