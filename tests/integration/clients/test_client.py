"""Does the client of `client/` do with the real service what its own tests say?"""

import asyncio
import os
from asyncio import create_subprocess_exec
from asyncio.subprocess import STDOUT
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page

from tests.integration.clients.conftest import CLIENT
from tests.integration.clients.stage import Stage, make_door
from tests.integration.platform import now_ms

TESTS = sorted((CLIENT / "test" / "service").glob("*.test.js"))
assert TESTS
TIMEOUT_SECONDS = 45
TIMEOUT_MS = 20_000


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
async def test_in_node(
    stage: Stage, aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], tmp_path: Path, file: Path
) -> None:
    await stage.open()
    door = await aiohttp_server(make_door(stage))
    addresses = {
        "LIVE_URL": stage.url,
        "DIRECTUS_URL": stage.platform.environ["DIRECTUS_BASE_URL"],
        "STAGE_URL": str(door.make_url("")).rstrip("/"),
    }
    said = tmp_path / "said"
    with said.open("wb") as output:
        node = await create_subprocess_exec(
            *("node", "--test", str(file)), env={**os.environ, **addresses}, stdout=output, stderr=STDOUT
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status = await node.wait()
        except TimeoutError:
            node.terminate()
            status = await node.wait()
    assert status == 0, said.read_text(encoding="utf-8")


FOLLOW = """async ([url, topic]) => {
    const {createLiveClient} = await import('/live.js')
    window.live = createLiveClient({url, isSignedIn: () => document.cookie !== ''})
    window.told = {statuses: [], devices: {}, calls: 0, backwards: 0, frames: 0}
    Math.random = () => 0.1  // no wait is longer than a tenth of what it may be
    const frame = () => { told.frames += 1; requestAnimationFrame(frame) }
    requestAnimationFrame(frame)
    live.onStatus((status, {reason, code}) => told.statuses.push(`${status} ${reason ?? code ?? ''}`.trim()))
    live.onSnapshot(({snapshot}) => {
        told.devices = Object.fromEntries(snapshot.map(({deviceId, ts}) => [deviceId, ts]))
    })
    live.onPosition((positions) => {
        told.calls += 1
        for (const {deviceId, ts} of positions) {
            if (ts <= (told.devices[deviceId] ?? 0)) told.backwards += 1
            told.devices[deviceId] = ts
        }
    })
    live.connect()
    return (await live.subscribe(topic)).snapshot.length
}"""
SHOWS = "([devices, last]) => Object.values(told.devices).filter((ts) => ts === last).length === devices"
HAS_BEEN = "(statuses) => told.statuses.join() === statuses.join()"


async def test_in_chromium(stage: Stage, page: tuple[Page, str]) -> None:
    browser, origin = page
    stage.settings["LIVE_WS_ALLOWED_ORIGINS"] = origin
    await stage.open()
    event, imeis = stage.events.pop()
    last = now_ms()
    assert await browser.evaluate(FOLLOW, [stage.url, f"event:{event}"]) == 0
    await stage.platform.trackers.drive(imeis, last - 999, 1_000)
    await browser.wait_for_function(SHOWS, arg=[len(imeis), last], timeout=TIMEOUT_MS)
    assert await browser.evaluate("told.calls <= told.frames && told.backwards === 0")
    been = ["connecting", "connected"]
    await browser.wait_for_function(HAS_BEEN, arg=been, timeout=TIMEOUT_MS)

    await stage.restart()
    been += ["reconnecting 1012", "connected"]
    await browser.wait_for_function(HAS_BEEN, arg=been, timeout=TIMEOUT_MS)
    last += 1
    await stage.platform.trackers.drive(imeis, last, 1)
    await browser.wait_for_function(SHOWS, arg=[len(imeis), last], timeout=TIMEOUT_MS)

    await browser.context.clear_cookies()
    await browser.evaluate("live.close(), live.connect()")
    been += ["closed", "connecting", "reconnecting 1006", "closed signedOut"]  # a browser does not show a 401
    await browser.wait_for_function(HAS_BEEN, arg=been, timeout=TIMEOUT_MS)
