"""What stands around the live channel in a test: trackers, viewers, and the service itself on real servers."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, ClientWSTimeout, WSMsgType, web
from redis.asyncio import Redis

from processor_live.app import make_app
from processor_live.health import HEALTH
from tests.servers import Database

EVENTUALLY_SECONDS = 10.0
"""For what must happen: long, because a machine may be busy."""

Message = dict[str, Any]


def now_ms() -> int:
    """Return the present as a `ts`."""
    return time.time_ns() // 1_000_000


def moment(ts: int) -> datetime:
    """Return the time of a `ts`."""
    return datetime.fromtimestamp(ts / 1000, UTC)


@dataclass
class Trackers:
    """The devices in the field, whose records the ingestion service writes to the stream."""

    redis: Redis
    stream: str

    async def report(self, imei: str, ts: int, **fields: object) -> str:
        """Send one record, of `ts` in epoch milliseconds, and return the id of its entry."""
        return await self.send(self.record(imei, ts, **fields), imei)

    async def drive(self, imeis: Sequence[str], start: int, steps: int) -> None:
        """Send a record of every device for every millisecond from `start` on."""
        for step in range(steps):
            async with self.redis.pipeline(transaction=False) as pipeline:
                for imei in imeis:
                    _ = pipeline.xadd(self.stream, self._entry(self.record(imei, start + step), imei))
                await pipeline.execute()

    @staticmethod
    def record(imei: str, ts: int, **fields: object) -> str:
        """Return the payload of one record."""
        record = {
            "device_id": imei,
            "timestamp": moment(ts).isoformat(),
            "latitude": 41.5,
            "longitude": 19.5,
            "altitude": 12,
            "angle": 90,
            "speed": 70,
            "satellites": 9,
            "priority": 0,
            "attributes": {"239": 1},
            **fields,
        }
        return json.dumps(record)

    async def send(self, payload: str | bytes, imei: str = "") -> str:
        """Send a payload as it is."""
        entry_id: Any = await self.redis.xadd(self.stream, self._entry(payload, imei))
        return str(entry_id)

    @staticmethod
    def _entry(payload: str | bytes, imei: str) -> dict[Any, Any]:
        return {"ts": moment(now_ms()).isoformat(), "device_id": imei, "codec": "8E", "payload": payload}


@dataclass
class Viewer:
    """A spectator's browser."""

    socket: ClientWebSocketResponse
    positions: list[Message] = field(default_factory=list)
    """All that came, in order."""

    async def receive(self, patience_s: float = EVENTUALLY_SECONDS) -> Message:
        """Return the next message."""
        async with asyncio.timeout(patience_s):
            message: Message = json.loads(await self.socket.receive_str())
        if message["type"] == "position":
            self.positions.append(message)
        return message

    async def answer(self) -> Message:
        """Return the next message that is no position."""
        while (message := await self.receive())["type"] == "position":
            pass
        return message

    async def ask(self, type_: str, topic: str, **more: str) -> Message:
        """Send a command and return its answer."""
        await self.socket.send_json({"type": type_, "topic": topic, **more})
        return await self.answer()

    async def snapshot(self, topic: str) -> dict[str, Message]:
        """Subscribe and return the snapshot by device."""
        answer = await self.ask("subscribe", topic)
        assert answer["type"] == "subscribed", answer
        assert answer["topic"] == topic
        return {entry["deviceId"]: entry for entry in answer["snapshot"]}

    async def position(self) -> Message:
        """Return the next message, which must be a position."""
        message = await self.receive()
        assert message["type"] == "position", message
        return message

    async def until(self, imei: str, ts: int) -> Message:
        """Return the position of a device at `ts`, whatever comes before it."""
        while (message := await self.position())["deviceId"] != imei or message["ts"] != ts:
            pass
        return message

    async def close_code(self, patience_s: float = EVENTUALLY_SECONDS) -> int | None:
        """Read to the end and return the server's close code."""
        async with asyncio.timeout(patience_s):
            while (await self.socket.receive()).type not in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED}:
                pass
        return self.socket.close_code


@dataclass
class Served:
    """The service, wherever it runs and whatever stands before it."""

    url: str
    platform: "Platform"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def session(self) -> ClientSession:
        """For requests of the test's own."""
        return self.platform.session

    async def handshake(self, **headers: str) -> tuple[int, Mapping[str, str], str]:
        """Ask for an upgrade and return status, headers and text of the refusal."""
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(f"{self.url}/ws-live", headers={**upgrade, **headers}) as response:
            return response.status, response.headers, await response.text()

    async def viewer(self, cookie: str, **options: Any) -> Viewer:  # noqa: ANN401 - as aiohttp has them
        """Connect somebody who is signed in."""
        return await self.platform.viewer(f"{self.url}/ws-live", cookie, **options)


@dataclass
class Live(Served):
    """One instance of the service that runs in this process."""

    app: web.Application

    async def readiness(self) -> tuple[int, Message]:
        """Return what `/readyz` says."""
        async with self.session.get(f"http://127.0.0.1:{self.app[HEALTH].port}/readyz") as response:
            return response.status, await response.json()

    async def until(self, status: str) -> Message:
        """Ask `/readyz` until it has this status, and return its answer."""
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while (answer := (await self.readiness())[1])["status"] != status:
                pass
        return answer


@dataclass
class Platform:
    """The whole deployment: a rally in the database, its trackers, Directus, and as many instances as asked for."""

    environ: dict[str, str]
    database: Database
    trackers: Trackers
    session: ClientSession
    runners: list[web.AppRunner] = field(default_factory=list)
    viewers: list[Viewer] = field(default_factory=list)

    async def viewer(self, url: str, cookie: str, **options: Any) -> Viewer:  # noqa: ANN401 - as aiohttp has them
        """Connect somebody who is signed in and stays until the test is over."""
        headers = {"Cookie": cookie, **options.pop("headers", {})}
        socket = await self.session.ws_connect(url, headers=headers, timeout=ClientWSTimeout(ws_close=1), **options)
        self.viewers.append(Viewer(socket))
        return self.viewers[-1]

    async def start(self, **settings: str) -> Live:
        """Start an instance, and wait until it welcomes viewers."""
        live = await self.start_unready(**settings)
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while (await live.readiness())[0] != web.HTTPOk.status_code:
                pass
        return live

    async def start_unready(self, **settings: str) -> Live:
        """Start an instance."""
        number = len(self.runners)
        app = make_app({**self.environ, "INSTANCE_ID": f"test-{number}", **settings})
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        self.runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return Live(f"http://127.0.0.1:{runner.addresses[0][1]}", self, app)

    async def close(self) -> None:
        """Let all viewers leave, then stop all instances: nobody is left who would not answer a goodbye."""
        for viewer in self.viewers:
            await viewer.socket.close()
        await self.stop()

    async def stop(self) -> None:
        """Stop all instances."""
        for runner in self.runners:
            await runner.cleanup()
