"""Does a person see on the map what is the matter, and afterwards the newest positions and never an older one?"""

import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from processor_live.endpoint import CONNECTIONS
from processor_live_demo.access import Access, Kind
from processor_live_demo.directus import answer
from tests.integration.clients.behind import OwnTab
from tests.integration.clients.chromium import Tab, chromium
from tests.integration.clients.conftest import IMEIS, MAP, interrupt, quiet_tab
from tests.integration.clients.stage import Stage
from tests.integration.clients.test_map import CENTRE, MARKED, in_the_middle
from tests.integration.conftest import ANA
from tests.integration.platform import Live, Platform, Trackers, moment, now_ms
from tests.link import link_to
from tests.own_redis import OwnRedis
from tests.servers import Database

UNREACHABLE = r"WebSocket connection to '\S+' failed|net::ERR_"
"""What a browser writes into its console by itself while there is no service."""
REFUSED = r"WebSocket connection to '\S+' failed|status of 401"
"""The same, when somebody is not let in."""
FOLLOW_LINK = "(event) => { location.hash = event }"
CROWD = [f"35209308047{number:04}" for number in range(40)]

# Keep what the list has shown: of each device, in order, the speeds. Here they grow with the time of the position.
REMEMBER = """() => {
    window.shown = {}
    new MutationObserver(() => {
        for (const button of document.querySelectorAll('#list button')) {
            const speed = parseInt(button.querySelector('.motion').textContent)
            if (speed && shown[button.title]?.at(-1) !== speed) (shown[button.title] ??= []).push(speed)
        }
    }).observe(document.querySelector('#list'), {childList: true, subtree: true})
}"""
SHOWN = "() => window.shown"
SLOWEST = "() => Math.min(...[...document.querySelectorAll('#list .motion')].map((each) => parseInt(each.textContent)))"

# How opaque the markers are, in per cent, in the western and in the eastern half of the map.
OPACITIES = f"""() => {{
    const {{canvas, pixels}} = {MARKED}
    const opacities = [0, 0]
    for (const [left, , alpha] of pixels) {{
        const half = left < canvas.width / 2 ? 0 : 1
        opacities[half] = Math.max(opacities[half], Math.round(alpha * 100 / 255))
    }}
    return opacities
}}"""


def assert_never_back(shown: dict[str, Sequence[int]]) -> None:
    """Assert that no device was shown where it had been before."""
    assert shown
    for imei, speeds in shown.items():
        assert list(speeds) == sorted(speeds), imei


async def test_a_service_that_is_killed_is_come_back_to_and_the_page_says_so_meanwhile(
    stage: Stage, access: Access, cookie: str
) -> None:
    stage.settings |= MAP
    await stage.open()
    event, (imei, witness) = stage.events.pop()
    access.names = {event: "Rally of Theth"}
    report = stage.platform.trackers.report
    start = now_ms()
    await report(imei, start - 2_000, speed=10)
    async with quiet_tab(f"http://127.0.0.1:{stage.port}", cookie) as tab:
        tab.unavoidable = UNREACHABLE
        await tab.go(f"/map#{event}")
        await tab.page.evaluate(REMEMBER)
        await tab.reads("#status", "Live")
        await tab.until(CENTRE, in_the_middle)
        await report(imei, start, speed=20)
        await report(imei, start - 1_000, speed=15)  # uploaded late
        await report(witness, start, speed=1)
        await tab.reads("#list", "1 km/h")
        await tab.reads("#list", "20 km/h")

        await stage.stop(signal.SIGKILL)
        await tab.reads("#status[data-status=reconnecting]", "Connection lost. Reconnecting…")
        before, _ = await tab.until(CENTRE, in_the_middle)
        await report(imei, start + 1_000, speed=30)
        await report(imei, start - 500, speed=16)  # uploaded late, too
        await stage.serve()
        await tab.reads("#status[data-status=connected]", "Live")
        await tab.reads("#list", "30 km/h")

        await report(imei, now_ms(), speed=40, longitude=19.505)
        await tab.reads("#list", "40 km/h")
        await tab.until(CENTRE, lambda centre: centre[0] > before + 10)
        shown = await tab.page.evaluate(SHOWN)
        assert shown.keys() == {imei, witness}
        assert_never_back(shown)


async def test_while_no_positions_come_markers_fade_and_the_page_says_for_how_long(
    platform: Platform, database: Database, access: Access, own_redis: OwnRedis, own_client: Redis, event: str,
    cookie: str,
) -> None:  # fmt: skip
    access.names = {event: "Rally of Theth"}
    west, east = IMEIS[:2]
    database.register(event, west, east)
    database.add_position(west, moment(now_ms() - 270_000), longitude=19.80)
    database.add_position(east, moment(now_ms() - 30_000), longitude=19.82)
    trackers = Trackers(own_client, platform.environ["REDIS_TELEMETRY_STREAM"])
    live = await platform.start(**MAP, REDIS_URL=own_redis.url)
    async with quiet_tab(live.url, cookie) as tab:
        await tab.page.clock.install()
        await tab.go("/map")
        await tab.reads("#status[data-status=connected]", "Live")
        await tab.until(OPACITIES, lambda opacities: opacities == [50, 100])

        own_redis.close()
        await tab.page.clock.fast_forward(31_000)
        await tab.reads("#status[data-status=quiet]", "No new positions for 1 min")
        await tab.reads("#worst-age", "5 min")
        await tab.until(OPACITIES, lambda opacities: opacities == [25, 50])

        own_redis.start()
        await own_client.connection_pool.disconnect()
        await trackers.report(east, now_ms(), latitude=41.33, longitude=19.82)
        await tab.reads("#status[data-status=connected]", "Live")
        await tab.until(OPACITIES, lambda opacities: opacities == [25, 100])


async def test_an_event_without_positions_is_not_called_live(tab: Tab, live: Live, database: Database) -> None:
    database.execute("DELETE FROM positions")
    await tab.go("/map")
    await tab.reads("#status[data-status=quiet]", "No positions yet")
    await live.platform.trackers.report(IMEIS[0], now_ms())
    await tab.reads("#status[data-status=connected]", "Live")


@pytest.mark.parametrize("then", ["another event is chosen", "the connection is lost"])
async def test_when_the_session_ends_nothing_is_left_on_the_map_and_one_signs_in_anew(
    tab: Tab, live: Live, database: Database, access: Access, cookie: str, event: str, then: str
) -> None:
    other = database.add_event()
    access.users[ANA].events.add(other)
    access.names = {event: "Rally of Theth", other: "Prologue"}
    tab.unavoidable = REFUSED
    await tab.go(f"/map#{event}")
    await tab.reads("#count", "3")
    access.end_session(cookie)
    if then == "another event is chosen":
        await tab.page.select_option("#event", label="Prologue")
    else:
        for connection in [*live.app[CONNECTIONS]]:
            connection.cut()
    await tab.reads("#notice", "Your session has ended")
    await tab.reads("#status", "Signed out")
    assert await tab.page.locator("#list li").count() == 0
    assert await tab.page.locator("#event").is_disabled(), "no other event can be asked for"
    await tab.page.get_by_role("link", name="Sign in", exact=True).click()
    await tab.page.wait_for_url(f"{live.url}/login")
    await tab.page.click("button")
    await tab.page.click("text=Rally of Theth")
    await tab.reads("#status", "Live")


async def test_a_session_that_the_browser_has_renewed_goes_on_without_a_word(
    tab: Tab, database: Database, access: Access, cookie: str, event: str
) -> None:
    other = database.add_event()
    access.users[ANA].events.add(other)
    access.names = {event: "Rally of Theth", other: "Prologue"}
    await tab.go(f"/map#{event}")
    await tab.reads("#count", "3")
    await tab.sign_in(access.sign_in(ANA))
    access.end_session(cookie)
    await tab.page.select_option("#event", label="Prologue")
    await tab.reads("#status", "No positions yet")
    await tab.page.go_back()
    await tab.reads("#status", "Live")
    assert await tab.page.locator("#notice").is_hidden()


async def test_who_watches_nothing_is_told_why_also_after_a_lost_connection_and_may_follow_a_link(
    tab: Tab, live: Live, database: Database, access: Access, event: str
) -> None:
    access.users[ANA].events.clear()
    await tab.go(f"/map#{database.add_event()}")
    await tab.reads("#status", "This event is not open to you")
    await interrupt(tab, live)
    assert await tab.page.inner_text("#status") == "This event is not open to you"
    access.users[ANA].events.add(event)
    await tab.page.evaluate(FOLLOW_LINK, event)
    await tab.reads("#status", "Live")

    access.users[ANA].events.clear()
    await tab.page.evaluate(FOLLOW_LINK, "")
    await tab.reads("#status", "No event")
    await interrupt(tab, live)
    assert await tab.page.inner_text("#status") == "No event"
    access.users[ANA].events.add(event)
    await tab.page.evaluate(FOLLOW_LINK, event)
    await tab.reads("#status", "Live")
    await tab.reads("#event", "Rally of Theth")
    assert await tab.page.locator("#notice").is_hidden()


async def test_a_worker_that_goes_on_after_an_error_of_its_own_is_not_called_out_of_date(tab: Tab, live: Live) -> None:
    await tab.go("/map")
    await tab.reads("#status", "Live")
    (worker,) = tab.page.workers
    tab.unavoidable = "of its own"
    await worker.evaluate("() => { setTimeout(() => { throw new Error('of its own') }) }")
    await tab.until("() => 0", lambda _: tab.complaints)
    await live.platform.trackers.report(IMEIS[0], now_ms(), speed=50)
    await tab.reads("#list", "50 km/h")
    assert await tab.page.locator("#notice").is_hidden()


@pytest.mark.parametrize("question", ["users", "events"])
async def test_a_page_that_is_opened_while_directus_is_down_says_so_and_asks_again(
    tab: Tab, access: Access, question: Kind
) -> None:
    tab.unavoidable = "status of 503"
    access.overrides[question] = answer(503)
    await tab.go("/map")
    await tab.reads("#notice", "The events cannot be listed")
    await tab.reads("#status[data-status=closed]", "Out of reach")
    if question == "users":  # a person may be quicker
        await tab.page.click("text=Try now")
        await tab.reads("#notice", "The events cannot be listed")
    del access.overrides[question]
    await tab.reads("#status", "Live")
    assert await tab.page.locator("#notice").is_hidden()


async def test_after_a_network_that_could_not_keep_up_the_newest_positions_are_shown(
    platform: Platform, database: Database, access: Access, event: str, cookie: str
) -> None:
    access.names = {event: "Rally of Theth"}
    database.register(event, *CROWD)
    live = await platform.start(**MAP, LIVE_WS_COMPRESSION="false", LIVE_WS_BACKPRESSURE_THRESHOLD_BYTES="1024")
    async with link_to(urlsplit(live.url).port or 0) as link, quiet_tab(f"http://127.0.0.1:{link.port}", cookie) as tab:
        await tab.go("/map")
        await tab.reads("#status", "No positions yet")
        await tab.page.evaluate(REMEMBER)
        link.bytes_per_second = 20_000
        ts = now_ms() - 10_000
        while not any(each.lagging for each in live.app[CONNECTIONS]):
            await platform.trackers.drive(CROWD, ts, 10)
            ts += 10
        for imei in CROWD:
            await platform.trackers.report(imei, ts, speed=99)
        link.bytes_per_second = float("inf")
        await tab.until(SLOWEST, lambda slowest: slowest == 99)
        shown = await tab.page.evaluate(SHOWN)
        assert len(shown) == len(CROWD)
        assert_never_back(shown)


async def test_a_tab_behind_another_keeps_little_and_shows_the_newest_positions_on_return(
    platform: Platform, database: Database, access: Access, event: str, cookie: str
) -> None:
    access.names = {event: "Rally of Theth"}
    database.register(event, *CROWD)
    live = await platform.start(**MAP)
    trackers = platform.trackers
    start, steps = now_ms(), 300
    await trackers.drive(CROWD, start - steps - 1, 1)
    async with chromium() as browser, OwnTab.open(browser, live.url, cookie) as tab:
        await tab.call("Page.navigate", url=f"{live.url}/map#{event}")
        await tab.until("() => document.querySelector('#count')?.textContent", str(len(CROWD)))
        await tab.hide()
        before = await tab.heap_bytes()
        await trackers.drive(CROWD, start - steps, steps)
        for imei in CROWD:
            await trackers.report(imei, start, speed=99)
        await tab.until(SLOWEST, 99)
        kept = await tab.heap_bytes() - before
        assert kept < 500_000, "12,000 positions are more than that"

        await tab.call("Page.setWebLifecycleState", state="frozen")
        for imei in CROWD:
            await trackers.report(imei, start + 1, speed=100, longitude=19.6)
        await tab.call("Page.setWebLifecycleState", state="active")
        await tab.show()
        await tab.until(SLOWEST, 100)
        await tab.until("() => document.querySelector('#status').textContent", "Live")


async def test_a_browser_that_was_offline_shows_what_has_come_meanwhile(
    tab: Tab, live: Live, topic: str, cookie: str
) -> None:
    tab.unavoidable = UNREACHABLE
    await tab.go("/map")
    await tab.reads("#status", "Live")
    witness = await live.viewer(cookie)
    await witness.snapshot(topic)
    await tab.page.context.set_offline(True)
    ts = now_ms()
    await live.platform.trackers.report(IMEIS[0], ts, speed=50)
    await witness.until(IMEIS[0], ts)
    await tab.reads("#status", "Connection lost. Reconnecting…")
    assert await tab.page.locator("text=50 km/h").count() == 0, "it is offline"
    await tab.page.context.set_offline(False)
    await tab.reads("#list", "50 km/h")
    await tab.reads("#status", "Live")


async def test_who_asked_for_less_motion_sees_devices_where_they_are_and_not_on_their_way(
    live: Live, database: Database, cookie: str
) -> None:
    database.execute("DELETE FROM positions WHERE device_id <> %s", (IMEIS[0],))
    async with quiet_tab(live.url, cookie, reduced_motion="reduce") as tab:
        await tab.go("/map")
        before, _ = await tab.until(CENTRE, in_the_middle)
        await live.platform.trackers.report(IMEIS[0], now_ms() + 1_000, latitude=41.5, longitude=19.505)
        after, _ = await tab.until(CENTRE, lambda centre: centre[0] > before + 1)
        for _ in range(5):
            assert await tab.page.evaluate(CENTRE) == pytest.approx([after, 0], abs=5)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_ages_are_right_where_the_computers_clock_is_wrong(
    live: Live, database: Database, cookie: str, hours: int
) -> None:
    database.execute("UPDATE positions SET ts = %s WHERE device_id = %s", (moment(now_ms() - 130_000), IMEIS[0]))
    async with quiet_tab(live.url, cookie) as tab:
        await tab.page.clock.install(time=datetime.now(UTC) + timedelta(hours=hours))
        await tab.go("/map")
        await tab.reads("#status", "Live")
        await tab.reads("#worst-age", "2 min")
        fading = await tab.page.locator("#list li").evaluate_all("(rows) => rows.map((row) => row.dataset.fading)")
        assert fading == ["1", "0", "0"]
        await tab.page.clock.set_system_time(datetime.now(UTC))
        await tab.reads("#worst-age", "2 min")
