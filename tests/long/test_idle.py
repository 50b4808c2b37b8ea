"""Is a viewer of an event where nothing happens kept, with every time as it is by default?"""

import asyncio

import pytest

from tests.integration.platform import Platform, now_ms
from tests.integration.proxies import shipped
from tests.integration.proxies.conftest import Deploy
from tests.servers import Database

ABNORMAL = 1006
NEVER_MS = "3600000"
CUT_SECONDS = 120
"""nginx cuts after 60 s of silence."""


@pytest.mark.timeout(180)
async def test_nginx_cuts_after_a_minute_of_silence_but_the_service_pings_every_30_s(
    platform: Platform, deploy: Deploy, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    pinging = await deploy(shipped.nginx, await platform.start())
    silent = await deploy(shipped.nginx, await platform.start(LIVE_WS_PING_INTERVAL_MS=NEVER_MS))
    kept, cut = await pinging.browser(cookie), await silent.browser(cookie)
    await kept.snapshot(topic)
    waiting = asyncio.create_task(kept.receive(CUT_SECONDS))
    assert await cut.close_code(CUT_SECONDS) == ABNORMAL
    assert not waiting.done()
    await platform.trackers.report("1", ts := now_ms())
    assert (await waiting)["ts"] == ts
