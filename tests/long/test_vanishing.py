"""When is a viewer given up who vanishes without a word, with every time as it is by default?"""

import asyncio

import pytest

from tests.core.stranger import strangers
from tests.integration.entering import enter
from tests.integration.process import SERVE, Start, logged
from tests.servers import Database
from tests.silence import fall_silent, kept_by_the_kernel

SECONDS = (40, 60)
"""The ping comes 30 s after the last word, 15 s are for the answer; the rest is for a busy machine."""


@pytest.mark.timeout(120)
async def test_a_viewer_who_vanishes_is_given_up_after_45_s(
    start: Start, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    process = await start(*SERVE)
    port = int((await logged(process, r"live\.listening host=\S+ port=(\d+)"))[1])
    await logged(process, r"check\.good check=fanout")
    loop = asyncio.get_running_loop()
    async with strangers(port) as (phone,):
        await enter(phone, cookie, topic)
        fall_silent(phone.sock)
        began = loop.time()
        while kept_by_the_kernel(port):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.5)
        soonest, latest = SECONDS
        assert soonest <= loop.time() - began <= latest
