"""When are those given up who vanish without a word, with every time as it is by default?"""

import asyncio
from functools import partial

import pytest

from tests.core.stranger import strangers
from tests.integration.entering import enter
from tests.integration.process import SERVE, Start, logged
from tests.running import until
from tests.servers import Database
from tests.silence import fall_silent, kept_by_the_kernel

VIEWER_SECONDS = (40, 60)
"""The ping comes 30 s after the last word, 15 s are for the answer; the rest is for a busy machine."""
REQUEST_SECONDS = (100, 150)
"""The kernel asks after 60 s, and again every 15 s, four times."""


def is_heard(port: int) -> bool:
    """Return whether all that was said from a port has been acknowledged."""
    return not any(each.unsent_bytes for each in kept_by_the_kernel(port))


@pytest.mark.timeout(240)
async def test_a_viewer_is_given_up_after_45_s_and_an_unfinished_request_after_two_minutes(
    start: Start, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, "1")
    process = await start(*SERVE)
    port = int((await logged(process, r"live\.listening host=\S+ port=(\d+)"))[1])
    await logged(process, r"check\.good check=fanout")
    loop = asyncio.get_running_loop()
    async with strangers(port, 2) as (phone, knocking):
        await enter(phone, cookie, topic)
        await knocking.send(b"GET /ws-live HTTP/1.1\r\nHost: live.rally.al\r\n")
        for each in (phone, knocking):
            await until(partial(is_heard, each.sock.getsockname()[1]))  # or the phone's kernel would go on saying it
            fall_silent(each.sock)
        began = loop.time()
        for left, (soonest, latest) in ((1, VIEWER_SECONDS), (0, REQUEST_SECONDS)):
            while len(kept_by_the_kernel(port)) > left:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.5)
            assert soonest <= loop.time() - began <= latest
