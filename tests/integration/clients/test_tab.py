"""Does a tab of the tests notice what a page must not do?"""

from functools import partial

import pytest

from tests.integration.clients.chromium import Tab, chromium
from tests.integration.platform import Live
from tests.running import until

ELSEWHERE = "http://127.0.0.2:9"
POLICY = "Content Security Policy"
MISDEEDS = {
    "() => console.error('a word')": "a word",
    "() => { setTimeout(() => { throw new Error('a mistake') }) }": "a mistake",
    "() => { document.head.append(Object.assign(document.createElement('style'), {textContent: 'p {}'})) }": POLICY,
    f"() => {{ new Image().src = '{ELSEWHERE}/pixel.png' }}": POLICY,
    f"() => {{ new WebSocket('{ELSEWHERE}/') }}": POLICY,
}
"""Each with what is said about it."""


def has(tab: Tab, complaint: str) -> bool:
    return any(complaint in each for each in tab.complaints)


async def test_a_tab_notices_what_a_page_must_not_do(tab: Tab) -> None:
    await tab.go("/map")
    await tab.reads("#status", "Live")
    for misdeed, complaint in MISDEEDS.items():
        tab.check()
        await tab.page.evaluate(misdeed)
        await until(partial(has, tab, complaint))
        with pytest.raises(AssertionError):
            tab.check()
        tab.complaints.clear()
        tab.asked.clear()


async def test_a_tab_notices_what_is_asked_of_others_even_where_a_page_may(live: Live) -> None:
    async with chromium() as browser:
        tab = await Tab.open(browser, live.url)
        await tab.go("/login")
        tab.unavoidable = "."
        await tab.page.evaluate(f"() => fetch('{ELSEWHERE}/').catch(() => 0)")
        assert tab.asked == {live.url, ELSEWHERE}
        with pytest.raises(AssertionError):
            tab.check()
        await tab.page.evaluate("() => new WebSocket('ws://127.0.0.3:9/')")
        await until(lambda: "http://127.0.0.3:9" in tab.asked)
