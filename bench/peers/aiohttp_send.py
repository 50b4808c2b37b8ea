"""aiohttp as it is mostly used: `send_str` for each client; positions come as lines of JSON on stdin."""

import asyncio
import json
import sys

from aiohttp import web

followers: dict[str, set[web.WebSocketResponse]] = {}


async def follow(request: web.Request) -> web.WebSocketResponse:
    """Take one subscribe, and stay."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    topic = (await socket.receive_json())["topic"]
    await socket.send_json({"type": "subscribed", "topic": topic, "snapshot": []})
    followers.setdefault(topic, set()).add(socket)
    async for _ in socket:
        pass
    followers[topic].discard(socket)
    return socket


async def main() -> None:
    """Serve until stdin ends."""
    app = web.Application()
    app.router.add_get("/ws-live", follow)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    positions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(positions), sys.stdin)
    async for line in positions:
        text = line[:-1].decode()
        await asyncio.gather(
            *(socket.send_str(text) for socket in followers.get(json.loads(line)["topic"], ())), return_exceptions=True
        )


asyncio.run(main())
