"""Does the map hold a thousand devices that report five times a second?"""

from collections.abc import AsyncIterator

import pytest

from processor_live_demo.access import Access
from tests.integration.clients.chromium import Tab, chromium
from tests.integration.clients.gauge import Gauge
from tests.integration.clients.rally import IMEIS, driving
from tests.integration.platform import Platform
from tests.servers import Database

pytestmark = pytest.mark.timeout(180)

PLUGINS = "auth,authorization,routing,snapshot,fanout,map,processor_live_demo.proxy:setup"
SECONDS = 4
WEAK = 4
"""Times slower than this machine."""
PROMISED, FEWEST = 30, 10
"""Animation frames in a second; the latter, for a weak machine, leaves room for one that is busy, too."""
MEGABYTE = 1 << 20
RATE = "() => Number(document.querySelector('#rate').textContent)"

LISTEN = """
    window.told = [] // how many positions came in each message of the worker
    window.Worker = class extends Worker {
        constructor(...args) {
            super(...args)
            this.addEventListener('message', ({data: [event, news]}) => event === 'position' && told.push(news.length))
        }
    }
"""
# Keep the page busy for two seconds, and return what it was told then and in the half second that follows.
FREEZE = """() => {
    told.length = 0
    for (const began = performance.now(); performance.now() < began + 2000;);
    return new Promise((resolve) => setTimeout(() => resolve(told), 500))
}"""

# How many animation frames there are in three seconds, for one second.
FRAMES = """() => new Promise((resolve) => {
    let frames = 0
    const began = performance.now()
    const count = (now) => now < began + 3000 ? (frames++, requestAnimationFrame(count)) : resolve(frames / 3)
    requestAnimationFrame(count)
})"""


@pytest.fixture
async def tab(platform: Platform, database: Database, access: Access, cookie: str, event: str) -> AsyncIterator[Tab]:
    """A map on which all devices drive."""
    database.register(event, *IMEIS)
    access.names = {event: "Rally of Theth"}
    live = await platform.start(LIVE_PLUGINS=PLUGINS)
    async with driving(platform.trackers), chromium() as browser:
        tab = await Tab.open(browser, live.url, cookie)
        await tab.page.add_init_script(LISTEN)
        await tab.go("/map")
        await tab.reads("#count", str(len(IMEIS)))
        await tab.until(RATE, bool)
        yield tab
        assert tab.complaints == []


async def test_a_thousand_devices_leave_the_page_most_of_its_time_and_its_memory(tab: Tab) -> None:
    gauge = await Gauge.on(tab)
    before = await gauge.heap_bytes()
    assert await gauge.busy_share(SECONDS) < 0.25
    after = min([await gauge.heap_bytes() for _ in range(3)])  # whatever is under way in that moment counts, too
    assert after < before + MEGABYTE < 20 * MEGABYTE


async def test_a_page_that_was_busy_is_told_the_newest_position_of_each_device_and_not_all(tab: Tab) -> None:
    told = await tab.page.evaluate(FREEZE)
    assert len(told) < 20, "without a worker that waits it is one for every frame"
    assert len(IMEIS) / 2 < max(told) <= len(IMEIS)


async def test_there_are_frames_to_spare_for_the_person_also_on_a_weak_machine(tab: Tab) -> None:
    assert await tab.page.evaluate(FRAMES) > PROMISED
    await (await Gauge.on(tab)).throttle(WEAK)
    assert await tab.page.evaluate(FRAMES) > FEWEST
    await tab.page.locator("#list button").first.click()
    await tab.reads("#release", "Following")
    assert await tab.page.evaluate(FRAMES) > FEWEST


async def test_a_page_whose_worker_does_not_load_says_that_it_is_out_of_date(
    platform: Platform, access: Access, cookie: str, event: str
) -> None:
    access.names = {event: "Rally of Theth"}
    live = await platform.start(LIVE_PLUGINS=PLUGINS)
    async with chromium() as browser:
        tab = await Tab.open(browser, live.url, cookie)
        await tab.page.route("**/listener.js", lambda route: route.abort())
        await tab.go("/map")
        await tab.reads("#notice", "This page seems to be out of date")
