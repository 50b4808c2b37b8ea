"""Does a person with a browser get from the SPA's page to the map, and see all of it, through the proxies?"""

import re
from pathlib import Path

import pytest

from processor_live_demo.access import Access
from tests.integration.clients.chromium import Tab, chromium
from tests.integration.clients.test_map import CENTRE, in_the_middle
from tests.integration.conftest import ANA
from tests.integration.platform import Live, Platform, moment, now_ms
from tests.integration.proxies import shipped
from tests.integration.proxies.conftest import Deploy
from tests.integration.proxies.shipped import DEPLOY, Changes, Proxy
from tests.servers import Database

IMEIS = ("352093080461001", "352093080461002")
PLUGINS = "auth,authorization,routing,snapshot,fanout,map"
SPA = """<!doctype html>
<title>SPA</title>
<link rel="icon" href="data:,">
<form><input name="email"><input name="password"><button>Sign in</button></form>
<button id="leave">Sign out</button>
<p></p>
<script>
    const ask = async (path, body) => {
        const headers = { 'content-type': 'application/json' }
        body = JSON.stringify({ ...body, mode: 'session' })
        const answer = await fetch(path, { method: 'POST', headers, body })
        document.querySelector('p').textContent = answer.ok ? 'Done' : answer.status
    }
    document.forms[0].onsubmit = (event) => {
        event.preventDefault()
        ask('/auth/login', Object.fromEntries(new FormData(event.target)))
    }
    document.querySelector('#leave').onclick = () => ask('/auth/logout')
</script>
"""
"""It signs in and out as the real one does; what else that shows is its own business."""
REFUSED = re.compile(r"status of 40[13]|WebSocket connection to '\S+' failed")
"""What a browser writes into its console by itself, when somebody is not let in."""


def block(line: str) -> str:
    """Return the block of deploy/README.md that has this line."""
    blocks: list[str] = re.findall(r"(?m)(?:^    .*\n)+", (DEPLOY / "README.md").read_text(encoding="utf-8"))
    (found,) = [each for each in blocks if line in each]
    return found


NGINX = {"location / {": block("location ~ ^/map(/|$) {") + "location / {"}
STRIPPED = {"proxy_pass http://live;": "proxy_pass http://live/;"}
BENEATH = {"location / {": block("location /live/ {") + "location / {"}
CADDY = {"handle /ws-live {": block("@live path /ws-live /map /map/*")}


@pytest.fixture
async def live(platform: Platform, database: Database, access: Access, event: str) -> Live:
    """The service with the map and a closed event beside the one that is open; the SPA is where one signs in."""
    database.register(event, *IMEIS)
    database.add_position(IMEIS[0], moment(now_ms()), latitude=41.5, longitude=19.5)
    access.names = {event: "Rally of Theth", database.add_event(): "Prologue"}
    return await platform.start(LIVE_PLUGINS=PLUGINS, LIVE_MAP_SIGN_IN_URL="/")


@pytest.mark.parametrize(
    ("proxy", "changes", "path"),
    [
        pytest.param(shipped.nginx, NGINX, "/map", id="nginx"),
        pytest.param(shipped.nginx, {**STRIPPED, **NGINX}, "/map", id="nginx, the prefix of the WebSocket stripped"),
        pytest.param(shipped.nginx, BENEATH, "/live/map", id="nginx, all of the service beneath a prefix"),
        pytest.param(shipped.caddy, CADDY, "/map", id="caddy"),
    ],
)
async def test_who_signs_in_on_the_spas_page_watches_the_map_until_the_session_ends(
    deploy: Deploy, live: Live, access: Access, event: str, proxy: Proxy, changes: Changes, path: str
) -> None:
    front = await deploy(proxy, live, changes=changes)
    home: Path = front.proxy.log.parent
    (home / "spa" / "index.html").write_text(SPA, encoding="utf-8")
    (closed,) = access.names.keys() - {event}
    async with chromium() as browser:
        tab = await Tab.open(browser, front.url, ignore_https_errors=True)
        await tab.go(path)
        await tab.reads("#notice", "Sign in to see where the devices are")
        await sign_in(tab)
        await tab.go(path)
        await tab.reads("#status", "Live")
        assert await tab.page.locator("#event option").all_inner_texts() == ["Rally of Theth"]
        before, _ = await tab.until(CENTRE, in_the_middle)
        await live.platform.trackers.report(IMEIS[0], now_ms(), latitude=41.5, longitude=19.505, speed=87, angle=90)
        await tab.reads("#list .motion", "87 km/h E")
        await tab.until(CENTRE, lambda centre: centre[0] > before + 20)
        await tab.go(f"{path}#{closed}")
        await tab.reads("#notice", "This event is not open to you")
        await tab.reads("#count", "0")

        other = await tab.page.context.new_page()
        await other.goto(front.url)
        await other.click("text=Sign out")
        await other.locator("p", has_text="Done").wait_for()
        await tab.page.click("text=Watch Rally of Theth")
        await tab.reads("#notice", "Your session has ended")
        await tab.reads("#count", "0")
        await sign_in(tab)
        await tab.go(path)
        await tab.reads("#count", "1")
        assert [each for each in tab.complaints if not REFUSED.search(each)] == [], "nothing but refusals"
        assert tab.asked == {front.url}


async def sign_in(tab: Tab) -> None:
    """Follow the map's link to the SPA's page and sign in there."""
    await tab.page.get_by_role("link", name="Sign in", exact=True).click()
    await tab.page.fill("[name=email]", ANA)
    await tab.page.fill("[name=password]", "pw")
    await tab.page.click("form button")
    await tab.reads("p", "Done")
