"""The spectator counts what it is shown, says why it sees nothing, and comes back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from processor_live_demo import spectator as module
from processor_live_demo.roster import make_roster
from processor_live_demo.spectator import Spectator

EVENT = make_roster(7).events[0]
AiohttpServer = Callable[[web.Application], Awaitable[TestServer]]
Script = Callable[[web.WebSocketResponse], Awaitable[None]]


class Service:
    """A service that follows one script per connection, the last one for all further ones."""

    def __init__(self, *scripts: Script | int) -> None:
        self.scripts = list(scripts)
        self.subscriptions: list[tuple[str | None, object]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if isinstance(script, int):
            return web.Response(status=script)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.subscriptions.append((request.headers.get("Cookie"), await socket.receive_json()))
        await script(socket)
        return socket


def subscribed(*ages_s: float) -> dict[str, object]:
    now_ms = int(time.time() * 1000)
    snapshot = [
        {"deviceId": str(number), "lat": 42.0, "lon": 19.5, "ts": now_ms - int(age * 1000)}
        for number, age in enumerate(ages_s)
    ]
    return {"type": "subscribed", "topic": EVENT.topic, "id": "spectator", "snapshot": snapshot}


async def show(socket: web.WebSocketResponse) -> None:
    """Show two devices, the older one of them moving, until the client goes."""
    await socket.send_json(subscribed(1, 100))
    await socket.send_json({"type": "position", "topic": EVENT.topic, **position("1", age_s=50)})
    await socket.receive()


async def leave(socket: web.WebSocketResponse) -> None:
    await socket.send_json(subscribed(1))
    await socket.close(code=1012)


async def forbid(socket: web.WebSocketResponse) -> None:
    await socket.send_json({"type": "error", "code": "forbidden", "topic": EVENT.topic, "message": "not yours"})
    await socket.receive()


async def babble(socket: web.WebSocketResponse) -> None:
    await socket.send_str(json.dumps({"type": "weather"}))
    await socket.receive()


def position(device: str, *, age_s: float) -> dict[str, object]:
    return {"deviceId": device, "lat": 42.0, "lon": 19.5, "ts": int((time.time() - age_s) * 1000)}


@asynccontextmanager
async def watching(aiohttp_server: AiohttpServer, service: Service) -> AsyncIterator[Spectator]:
    app = web.Application()
    app.router.add_get("/ws-live", service.answer)
    server = await aiohttp_server(app)
    spectator = Spectator(str(server.make_url("/ws-live")), "session=1", EVENT)
    task = asyncio.create_task(spectator.watch())
    yield spectator
    task.cancel()
    await asyncio.wait([task])


async def line_with(spectator: Spectator, text: str) -> str:
    """Return the first status line that holds a text."""
    async with asyncio.timeout(5):
        while text not in (line := spectator.line()):  # noqa: ASYNC110 - it is asked, it does not tell
            await asyncio.sleep(0.01)
        return line


async def test_it_counts_devices_positions_and_the_worst_age(aiohttp_server: AiohttpServer) -> None:
    service = Service(show)
    async with watching(aiohttp_server, service) as spectator:
        line = await line_with(spectator, "1 positions/s")
        assert "connected, 2 devices in the snapshot" in line
        assert "worst age 50." in line
        assert "0 positions/s" in spectator.line()
    assert service.subscriptions == [
        ("session=1", {"type": "subscribe", "topic": EVENT.topic, "id": "spectator"}),
    ]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (503, "not connected: refused with HTTP 503"),
        (leave, "not connected: the service closed with 1012"),
        (forbid, "not connected: refused with forbidden: not yours"),
        (babble, "not connected: the service sent 'weather'"),
    ],
)
async def test_it_says_why_and_comes_back(
    aiohttp_server: AiohttpServer, script: Script | int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACK_OFF_S", (0.3,))
    async with watching(aiohttp_server, Service(script, show)) as spectator:
        await line_with(spectator, reason)
        await line_with(spectator, "connected, 2 devices")


async def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACK_OFF_S", (0.01,))
    spectator = Spectator("ws://127.0.0.1:1/ws-live", "session=1", EVENT)
    task = asyncio.create_task(spectator.watch())
    await line_with(spectator, "not connected: Cannot connect to host 127.0.0.1:1")
    task.cancel()
    await asyncio.wait([task])
