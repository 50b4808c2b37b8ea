"""Can everybody use the map: without a mouse, without good eyes, by day and by night, on a desk and in a hand?"""

import json
from typing import Literal

import pytest

from processor_live_demo.access import Access
from tests.integration.clients.chromium import Tab
from tests.integration.clients.conftest import CLIENT, IMEIS, interrupt, quiet_tab
from tests.integration.conftest import ANA
from tests.integration.platform import Live, moment, now_ms
from tests.servers import Database

AXE = CLIENT / "node_modules" / "axe-core" / "axe.min.js"
FAULTS = """async () => {
    const {violations} = await axe.run(document, {resultTypes: ['violations']})
    return violations.flatMap(({id, impact, help, nodes}) => nodes.map(({html}) => `${impact} ${id}: ${help}: ${html}`))
}"""
SIZES = {"desk": (1280, 800), "hand": (390, 844)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# What has the focus, and whether one sees that: a line around it, and itself on the screen.
FOCUSED = """() => {
    const element = document.activeElement
    if (element === document.body) return ['', true]
    const {outlineStyle, outlineWidth, outlineColor} = getComputedStyle(element)
    const {left, top, right, bottom, width} = element.getBoundingClientRect()
    const isOnScreen = width > 0 && left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight
    const isOutlined = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && !outlineColor.endsWith(', 0)')
    return [element.id || element.title || element.innerText, isOnScreen && isOutlined]
}"""

NAMES = "() => [...document.querySelectorAll('#list .name')].map((name) => name.textContent)"


async def assert_accessible(tab: Tab) -> None:
    """Assert that axe finds no fault with what is shown, in any of the looks it may have."""
    found = {}
    for size, (width, height) in SIZES.items():
        await tab.page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            await tab.page.emulate_media(color_scheme=scheme)
            if faults := await tab.page.evaluate(FAULTS):
                found[f"{scheme}, {size}"] = faults
    assert not found, json.dumps(found, indent=2)


async def stops(tab: Tab) -> list[str]:
    """Return what the tab key stops at until it leaves the page; each must be seen to have the focus."""
    found: list[str] = []
    while True:
        await tab.page.keyboard.press("Tab")
        name, is_seen = await tab.page.evaluate(FOCUSED)
        if not name:
            return found
        assert is_seen, name
        found.append(name)


@pytest.fixture
async def examined(tab: Tab) -> Tab:
    """A tab with axe in every page."""
    await tab.page.add_init_script(path=AXE)
    return tab


async def test_nothing_keeps_anybody_from_using_the_map(examined: Tab) -> None:
    await examined.go("/map")
    await examined.reads("#status", "Live")
    await assert_accessible(examined)
    await examined.page.click("#unfold")  # in a hand, where the last look was
    await examined.page.click("#list button")
    await examined.reads("#release", "Following")
    await assert_accessible(examined)


async def test_nothing_keeps_anybody_from_reading_what_is_old(examined: Tab, database: Database) -> None:
    for imei, minutes in zip(IMEIS, (1, 2, 7), strict=True):
        database.execute(
            "UPDATE positions SET ts = ts - make_interval(mins => %s) WHERE device_id = %s", (minutes, imei)
        )
    await examined.go("/map")
    await examined.reads("#status", "No new positions for 1 min")
    await assert_accessible(examined)


async def test_nothing_keeps_anybody_from_learning_that_an_event_is_closed(examined: Tab, database: Database) -> None:
    await examined.go(f"/map#{database.add_event()}")
    await examined.reads("#notice", "This event is not open to you")
    await assert_accessible(examined)


async def test_nothing_keeps_anybody_from_signing_in(live: Live) -> None:
    async with quiet_tab(live.url) as tab:
        tab.unavoidable = "status of 401"
        await tab.page.add_init_script(path=AXE)
        await tab.go("/map")
        await tab.reads("#notice", "Sign in to see where the devices are")
        await assert_accessible(tab)
        await tab.go("/login")
        await tab.reads("body", "Who are you?")
        await assert_accessible(tab)
        await tab.page.click("button")
        await tab.reads("body", "Signed in as")
        await assert_accessible(tab)


async def test_everything_is_reached_and_done_with_the_keyboard_alone(tab: Tab) -> None:
    map_and_controls = ["map", "Zoom in", "Zoom out", "fit"]
    await tab.go("/map")
    await tab.reads("#status", "Live")
    assert await stops(tab) == ["event", *map_and_controls, "find", IMEIS[0], "sign-in"]
    await tab.page.focus("#find")
    await tab.page.keyboard.press("Tab")
    await tab.page.keyboard.press("Enter")
    await tab.reads("#release", "Following 1001")
    await stops(tab)  # go on to the end, to begin anew
    assert "release" in await stops(tab)

    await tab.page.set_viewport_size({"width": 390, "height": 844})
    assert await stops(tab) == ["event", *map_and_controls, "release", "unfold"]
    await tab.page.focus("#unfold")
    await tab.page.keyboard.press("Enter")
    assert (await stops(tab))[:3] == ["find", IMEIS[0], "sign-in"]


async def test_what_a_refusal_offers_is_reached_with_the_keyboard(tab: Tab, database: Database) -> None:
    await tab.go(f"/map#{database.add_event()}")
    await tab.reads("#notice[role=alert]", "This event is not open to you")
    reached = await stops(tab)
    offered = ["Watch Rally of Theth", "Ask again", "Sign in as somebody else"]
    assert [name for name in reached if name in offered] == offered


async def test_who_stays_in_the_list_keeps_the_focus_while_others_come_and_go(
    tab: Tab, live: Live, database: Database, event: str
) -> None:
    last, first = "352093080471002", "352093080451003"  # as soon as five digits are shown
    leaving, focused = IMEIS[0], IMEIS[2]
    database.register(event, last, first)
    database.execute("UPDATE positions SET device_id = %s WHERE device_id = %s", (last, IMEIS[1]))
    await tab.go("/map")
    await tab.until(NAMES, lambda names: names == ["1001", "1002", "1003"])
    await tab.page.focus(f"#list [title='{focused}']")
    database.execute("UPDATE positions SET faulty = true WHERE device_id = %s", (leaving,))
    await interrupt(tab, live)
    await tab.until(NAMES, lambda names: names == ["1002", "1003"])
    assert await tab.page.evaluate("document.activeElement.title") == focused
    database.add_position(first, moment(now_ms()))
    await interrupt(tab, live)
    await tab.until(NAMES, lambda names: names == ["51003", "61003", "71002"])
    assert await tab.page.evaluate("document.activeElement.title") == focused


async def test_what_is_done_with_the_keyboard_does_not_lead_back_to_the_beginning(
    tab: Tab, access: Access, database: Database
) -> None:
    closed = database.add_event()
    await tab.go(f"/map#{closed}")
    await tab.reads("#notice", "This event is not open to you")
    access.users[ANA].events.add(closed)
    await tab.page.focus("text=Ask again")
    await tab.page.keyboard.press("Enter")
    await tab.page.locator("#notice").wait_for(state="hidden")
    assert await tab.page.evaluate("document.activeElement.id") == "map"

    await tab.reads("#status", "No positions yet")
    await tab.page.select_option("#event", label="Rally of Theth")
    await tab.reads("#count", "3")
    await tab.page.click("#list button")
    await tab.page.focus("#release")
    await tab.page.keyboard.press("Enter")
    await tab.page.locator("#release").wait_for(state="hidden")
    assert await tab.page.evaluate("document.activeElement.id") == "map"
