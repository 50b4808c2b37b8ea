"""The `websockets` library and its `broadcast`; positions come as lines of JSON on stdin."""

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

followers: dict[str, set[ServerConnection]] = {}


async def follow(connection: ServerConnection) -> None:
    """Take one subscribe, and stay."""
    topic = json.loads(await connection.recv())["topic"]
    await connection.send(json.dumps({"type": "subscribed", "topic": topic, "snapshot": []}))
    followers.setdefault(topic, set()).add(connection)
    await connection.wait_closed()
    followers[topic].discard(connection)


async def main() -> None:
    """Serve until stdin ends."""
    positions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(positions), sys.stdin)
    async with serve(follow, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        async for line in positions:
            broadcast(followers.get(json.loads(line)["topic"], ()), line[:-1].decode())


asyncio.run(main())
