"""Is a viewer kept who reads slowly but without a pause, with every time as it is by default?"""

import asyncio
import json

import pytest

from processor_live.endpoint import CONNECTIONS
from tests.core.stranger import PING, PONG, frame, strangers
from tests.integration.entering import IMEIS, enter
from tests.integration.platform import Platform, now_ms
from tests.integration.test_strangers import read_slowly
from tests.servers import Database

SIPPING_SECONDS = 80
"""The ping comes after 30 s, and an answer within 15 s after that is out of the question."""


@pytest.mark.timeout(180)
async def test_who_reads_a_kilobyte_a_second_is_kept_though_a_ping_takes_a_minute_to_arrive(
    platform: Platform, database: Database, event: str, topic: str, cookie: str
) -> None:
    database.register(event, *IMEIS)
    live = await platform.start()
    async with strangers(live.port, phones=True) as (slow,):
        await enter(slow, cookie, topic)
        sips = asyncio.create_task(read_slowly(slow))
        ts, clock = now_ms(), asyncio.get_running_loop().time
        began = clock()
        while clock() - began < SIPPING_SECONDS:
            await platform.trackers.drive(IMEIS, ts, 5)
            ts += 5
            await asyncio.sleep(0.25)
        assert any(each.lagging for each in live.app[CONNECTIONS])
        sips.cancel()
        await asyncio.wait([sips])
        newest: dict[str, int] = {}
        pings = 0
        while set(newest.values()) != {ts - 1} or len(newest) < len(IMEIS):
            received = await slow.receive()
            assert received is not None
            if received.opcode == PING:
                pings += 1
                await slow.send(frame(PONG))
                continue
            position = json.loads(received.payload)
            newest[position["deviceId"]] = position["ts"]
        assert pings
