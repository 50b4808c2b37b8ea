"""How does a stranger become a viewer of a rally, and when has a viewer seen all of it?"""

import json

from tests.core.stranger import TEXT, Stranger, frame
from tests.integration.platform import Viewer

IMEIS = [str(number) for number in range(40)]


def subscribe(topic: str, id_: str = "1") -> bytes:
    """Return a subscribe as a client's frame."""
    return frame(TEXT, json.dumps({"type": "subscribe", "topic": topic, "id": id_}).encode())


async def enter(stranger: Stranger, cookie: str, topic: str) -> None:
    """Let somebody in, and let him follow a topic."""
    assert await stranger.upgrade(f"Cookie: {cookie}") == 101
    await stranger.send(subscribe(topic))
    answer = await stranger.receive()
    assert answer is not None
    assert json.loads(answer.payload)["type"] == "subscribed"


async def newest_of_all(viewer: Viewer, ts: int) -> None:
    """Read until every device is at `ts`."""
    waiting = set(IMEIS)
    while waiting:
        position = await viewer.position()
        if position["ts"] == ts:
            waiting.discard(position["deviceId"])
