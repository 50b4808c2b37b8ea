"""Without Directus nobody new gets in, and is told so in time; who is in goes on watching (docs/contract.md §5 G6)."""

import asyncio

import pytest
from aiohttp import web

from processor_live_demo.access import Access
from processor_live_demo.directus import answer, make_directus, silence
from processor_live_demo.embedded import free_port
from tests.core.wire import metric
from tests.directus.faults import HALVES, HANGS, REFUSALS
from tests.integration.platform import Live, Platform, Viewer
from tests.integration.watching import watching
from tests.running import Diary

IMEI = "352093080000001"


async def knock_in_vain(live: Live, there: Viewer, cookie: str, topic: str, *, status: int = 503) -> None:
    """Ask for admission and, as somebody who is in, for a topic; both are refused, and readiness says why."""
    (refused, headers, _), error = await asyncio.gather(live.handshake(Cookie=cookie), there.ask("subscribe", topic))
    assert (refused, error["type"], error["code"]) == (status, "error", "error")
    if status == web.HTTPServiceUnavailable.status_code:
        assert 1 <= int(headers["Retry-After"]) <= 10
    problem = (await live.until("degraded"))["checks"]["directus"]
    assert "events: " in problem
    assert metric("live_check", check="directus") == 0


async def knock(live: Live, there: Viewer, cookie: str, topic: str) -> None:
    """The same, and both get what they want."""
    newcomer = await live.viewer(cookie)
    await newcomer.socket.close()
    await there.snapshot(topic)
    await live.until("ready")
    assert metric("live_check", check="directus") == 1


@pytest.mark.usefixtures("credulity")
async def test_whatever_comes_instead_of_an_answer_viewers_go_on_and_new_ones_are_told_to_try_again(
    platform: Platform, access: Access, cookie: str, topic: str, event: str, diary: Diary
) -> None:
    platform.database.register(event, IMEI)
    live = await platform.start(
        DIRECTUS_AUTH_TIMEOUT_MS="1000", DIRECTUS_AUTHZ_TIMEOUT_MS="1000", LIVE_WS_MAX_COMMANDS_PER_SECOND="1000"
    )
    viewer, there = await live.viewer(cookie), await live.viewer(cookie)
    await viewer.snapshot(topic)
    faults = {**REFUSALS, **HALVES, **HANGS}
    async with watching(platform, viewer, IMEI) as watch:
        for name, override in faults.items():
            access.calls.clear()
            access.overrides["users"] = access.overrides["events"] = override
            try:
                await knock_in_vain(live, there, cookie, topic)
                await watch.goes_on()
                assert set(access.calls_by_kind().values()) <= {1, 2 if name in HALVES else 1}
            except BaseException as error:
                error.add_note(f"Directus: {name}")
                raise
            access.overrides.clear()
            await knock(live, there, cookie, topic)
    for state in ("failing", "good"):
        assert diary.count(f"check.{state} check=directus") == len(faults)


async def test_data_that_is_null_is_nobody_at_the_door_and_undecided_inside(
    platform: Platform, access: Access, cookie: str, topic: str, event: str
) -> None:
    platform.database.register(event, IMEI)
    live = await platform.start()
    viewer, there = await live.viewer(cookie), await live.viewer(cookie)
    await viewer.snapshot(topic)
    async with watching(platform, viewer, IMEI) as watch:
        access.overrides["users"] = access.overrides["events"] = answer(200, body=b'{"data":null}')
        await knock_in_vain(live, there, cookie, topic, status=401)
        await watch.goes_on()
        access.overrides.clear()
        await knock(live, there, cookie, topic)


async def test_a_directus_that_goes_and_comes_back_is_found_again(
    platform: Platform, access: Access, cookie: str, topic: str, event: str, diary: Diary
) -> None:
    platform.database.register(event, IMEI)
    port = free_port()

    async def come() -> web.AppRunner:
        runner = web.AppRunner(make_directus(access), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    directus = await come()
    live = await platform.start(DIRECTUS_BASE_URL=f"http://127.0.0.1:{port}")
    viewer, there = await live.viewer(cookie), await live.viewer(cookie)
    await viewer.snapshot(topic)
    async with watching(platform, viewer, IMEI) as watch:
        for _ in range(2):
            await directus.cleanup()
            for _ in range(3):
                await knock_in_vain(live, there, cookie, topic)
                await watch.goes_on()
            directus = await come()
            await knock(live, there, cookie, topic)
    await directus.cleanup()
    assert [diary.count(f"check.{state} check=directus") for state in ("failing", "good")] == [2, 2]


async def test_a_directus_that_hangs_lets_nobody_wait_longer_than_the_browser_does(
    platform: Platform, access: Access, cookie: str, topic: str, event: str
) -> None:
    """Not even who asks for three events at once: one connection's commands are answered one after another."""
    platform.database.register(event, IMEI)
    live = await platform.start()
    viewer, there = await live.viewer(cookie), await live.viewer(cookie)
    await viewer.snapshot(topic)
    access.calls.clear()
    access.overrides["users"] = access.overrides["events"] = silence()
    loop = asyncio.get_running_loop()
    async with watching(platform, viewer, IMEI) as watch:
        began = loop.time()
        for number in range(3):
            await there.socket.send_json({"type": "subscribe", "topic": topic, "id": str(number)})
        status, _, _ = await live.handshake(Cookie=cookie)
        errors = [await there.answer() for _ in range(3)]
        assert loop.time() - began < 6, "5 s, and some for a busy machine"
        assert status == web.HTTPServiceUnavailable.status_code
        assert [(error["code"], error["id"]) for error in errors] == [("error", str(number)) for number in range(3)]
        assert access.calls_by_kind() == {"users": 1, "events": 2}, "nobody is asked about what came too late"
        await watch.goes_on()
