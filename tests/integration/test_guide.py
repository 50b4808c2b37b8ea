"""Do the examples of the plugin guide do what it says of them?"""

import re
from pathlib import Path

import pytest

from processor_live_demo.access import Access
from tests.integration.conftest import BEN
from tests.integration.platform import Platform, moment, now_ms
from tests.integration.process import Start

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"`LIVE_PLUGINS=(\S*?(\w+):setup\S*)`.*?```python\n(.*?)```", GUIDE, re.DOTALL)
"""What `LIVE_PLUGINS` is to be, the module in it, and the module's text."""
PLUGINS = {module: plugins for plugins, module, _ in EXAMPLES}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples are, as modules that can be imported."""
    for _, module, text in EXAMPLES:
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("module", PLUGINS)
async def test_a_module_whose_directory_is_named_is_found(start: Start, modules: Path, module: str) -> None:
    process = await start("-m", "processor_live", "check", LIVE_PLUGINS=PLUGINS[module], PYTHONPATH=str(modules))
    _, complaint = await process.communicate()
    assert (process.returncode, complaint) == (0, b"")


@pytest.mark.usefixtures("modules")
async def test_on_an_open_day_everybody_follows_the_public_event_and_no_other(
    platform: Platform, access: Access, topic: str, cookie: str
) -> None:
    live = await platform.start(LIVE_PLUGINS=PLUGINS["open_day"], OPEN_DAY_TOPIC=topic)
    ben = await live.viewer(access.sign_in(BEN))
    assert await ben.snapshot(topic) == {}
    ana = await live.viewer(cookie)
    assert (await ana.ask("subscribe", "event:another"))["code"] == "forbidden"
    assert access.calls_by_kind() == {"users": 2}


@pytest.mark.usefixtures("modules")
async def test_under_an_embargo_directus_decides_about_all_other_events(
    platform: Platform, access: Access, topic: str, cookie: str
) -> None:
    closed = platform.database.add_event()
    (ana,) = [user for user in access.users.values() if user.events]
    ana.events.add(closed)
    live = await platform.start(LIVE_PLUGINS=PLUGINS["embargo"], EMBARGO_TOPICS=f"event:x,event:{closed}")
    viewer = await live.viewer(cookie)
    assert (await viewer.ask("subscribe", f"event:{closed}"))["code"] == "forbidden"
    assert await viewer.snapshot(topic) == {}
    ben = await live.viewer(access.sign_in(BEN))
    assert (await ben.ask("subscribe", topic))["code"] == "forbidden"


@pytest.mark.usefixtures("modules")
async def test_of_one_device_who_may_see_it_gets_what_is_stored_and_what_comes_and_of_its_event_all(
    platform: Platform, access: Access, topic: str, event: str, cookie: str
) -> None:
    ts = now_ms()
    platform.database.register(event, "1", "2")
    for imei in ("1", "2"):
        platform.database.add_position(imei, moment(ts - 1))
    live = await platform.start(LIVE_PLUGINS=PLUGINS["one_device"])
    viewer = await live.viewer(cookie)
    assert {imei: entry["ts"] for imei, entry in (await viewer.snapshot("device:1")).items()} == {"1": ts - 1}
    ben = await live.viewer(access.sign_in(BEN))
    for somebody, hidden in ((viewer, "device:3"), (ben, "device:1")):
        assert (await somebody.ask("subscribe", hidden))["code"] == "forbidden"
    for imei in ("2", "1"):
        await platform.trackers.report(imei, ts)
    position = await viewer.position()
    assert (position["topic"], position["deviceId"], position["ts"]) == ("device:1", "1", ts)
    assert (await viewer.snapshot(topic)).keys() == {"1", "2"}
