"""Who is there when a service stops, in the middle of something, and is everybody served?"""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import ClientError, web

from processor_live.endpoint import GOODBYES_PER_SECOND
from processor_live_demo.access import Access
from processor_live_demo.directus import silence
from tests.core.stranger import TEXT, UPGRADE, Stranger, close_frame, frame, strangers
from tests.core.wire import CLOSE
from tests.integration.departure import BOUND_SECONDS, NOBODY, Service
from tests.integration.platform import Message, Platform, now_ms
from tests.running import until

DRAIN_SECONDS = 4
SPREAD_SECONDS = DRAIN_SECONDS - 2
"""Within which everybody is told: the last one has two seconds to answer."""
SETTINGS = {
    "LIVE_WS_DRAIN_TIMEOUT_MS": f"{DRAIN_SECONDS * 1000}",
    "LIVE_WS_MAX_CONNECTIONS_PER_USER": "1000",
    "LIVE_WS_BACKPRESSURE_THRESHOLD_BYTES": "1024",
    "DIRECTUS_AUTH_TIMEOUT_MS": "60000",
    "DIRECTUS_AUTHZ_TIMEOUT_MS": "60000",
}
ASKING, WAITING, UNREADING, ENTERING = 10, 10, 5, 10
STEP_SECONDS = 0.05
BULK = 2_000
"""More positions than the buffers of who does not read take."""
COMMANDS = ("subscribe", "unsubscribe", "subscribe", "unsubscribe")
ADMITTED = HTTPStatus.SWITCHING_PROTOCOLS
DRAINING = "503 draining"


async def directus(request: web.Request) -> web.StreamResponse:
    """Know everybody and allow everything, but never answer the kind of question that the cookie names."""
    path = request.path
    if f"hang={path.split('/')[1]}" in request.headers["Cookie"]:
        return await silence()(request)
    return web.json_response({"data": {"id": path.rpartition("/")[2]}})


def command(type_: str, topic: str, id_: int) -> bytes:
    """Return a command as a frame."""
    return frame(TEXT, json.dumps({"type": type_, "topic": topic, "id": str(id_)}).encode())


@dataclass
class Viewer:
    """Somebody who is in, and reads to the end."""

    stranger: Stranger
    positions: list[int] = field(default_factory=list)
    """The `ts` of what came."""
    answers: list[Message] = field(default_factory=list)
    code: int | None = None
    told_at: float = 0.0
    """When the goodbye came (loop time)."""

    async def watch(self, told: Callable[[], Awaitable[None]]) -> None:
        """Read to the end, and answer the goodbye when `told()` has been awaited."""
        while (received := await self.stranger.receive()) is not None:
            assert self.code is None, "nothing comes after a goodbye"
            if received.opcode == CLOSE:
                self.code, self.told_at = int.from_bytes(received.payload[:2]), asyncio.get_running_loop().time()
                await told()
                await self.stranger.send(close_frame(self.code))
            elif (message := json.loads(received.payload))["type"] == "position":
                self.positions.append(message["ts"])
            else:
                self.answers.append(message)


class Crowd:
    """All who are there when a service stops, and are in the middle of something."""

    def __init__(self, platform: Platform, access: Access, watching: int) -> None:
        """So many of them watch. Ana, whose session they all have, may from now on follow everything."""
        self._platform = platform
        self._cookie = access.sign_in("ana@rally.al")
        self._count = watching
        events = [platform.database.add_event() for _ in range(2)]
        for number, event in enumerate(events, 1):
            platform.database.register(event, str(number))
        self._topic, self._flood = (f"event:{event}" for event in events)
        """On the one device 1 drives, on the other device 2 so much that who does not read it falls behind."""
        access.overrides = {"users": directus, "events": directus}
        self._service: Service
        self._watching: list[Viewer] = []
        self._asking: list[Viewer] = []
        """Those who have just asked for several things."""
        self._waiting: list[Viewer] = []
        """Those who have, too, but Directus does not answer the first question about them."""
        self._tasks: list[asyncio.Task[None]] = []
        self._sent: list[int] = []
        """The `ts` of what device 1 has sent."""
        self._admitted = self._refused = 0
        """Newcomers."""
        self._told_one = False
        """Whether anybody has been told to go."""

    async def see_a_stop(self, service: Service) -> None:
        """Stop a service in the middle of it all, and see that everybody is served and nobody's cookie logged."""
        self._service = service
        async with AsyncExitStack() as stack:
            port, enter = self._service.port, stack.enter_async_context
            self._watching = [await self._come(each) for each in await enter(strangers(port, self._count))]
            self._asking = [await self._come(each) for each in await enter(strangers(port, ASKING))]
            self._waiting = [await self._come(each, "items") for each in await enter(strangers(port, WAITING))]
            unreading = [await self._come(each) for each in await enter(strangers(port, UNREADING, phones=True))]
            entering = await enter(strangers(port, ENTERING))
            await self._get_going(unreading, entering)
            for viewer in (*self._asking, *self._waiting):
                commands = zip(COMMANDS, (self._topic, self._flood) * 2, range(len(COMMANDS)), strict=True)
                await viewer.stranger.send(*(command(*each) for each in commands))
            began, began_ms = asyncio.get_running_loop().time(), now_ms()
            self._service.process.send_signal(signal.SIGTERM)
            log = await self._service.end(DRAIN_SECONDS + BOUND_SECONDS)
            driving, *tasks = self._tasks
            driving.cancel()
            await asyncio.gather(*tasks)
            for stranger in entering:
                assert (await stranger.rest()).startswith(b"HTTP/1.1 503 ")
        self._check(began)
        assert self._watching[-1].positions[-1] > began_ms, "who is told later is served until then"
        assert self._cookie not in log
        assert "left_behind" not in log

    async def _come(self, stranger: Stranger, hang: str = "") -> Viewer:
        """Come in; no question of the kind `hang` is answered about this one."""
        assert await stranger.upgrade(f"Cookie: {self._cookie}; hang={hang}") == 101
        return Viewer(stranger)

    async def _get_going(self, unreading: Sequence[Viewer], entering: Sequence[Stranger]) -> None:
        """Let everybody begin with what they will be in the middle of."""
        for viewer in unreading:
            await viewer.stranger.send(command("subscribe", self._flood, 0))
        await self._service.until("live_subscriptions", UNREADING)
        await self._platform.trackers.drive(["2"], now_ms(), BULK)
        await self._service.until("live_lagging_connections", UNREADING)
        for stranger in entering:
            head = ("GET /ws-live HTTP/1.1", "Host: live.rally.al", *UPGRADE, f"Cookie: {self._cookie}; hang=users")
            await stranger.send("\r\n".join((*head, "", "")).encode())
        await self._service.until("live_directus_waiting", 1)  # they have the same cookie
        for viewer in self._watching:
            await viewer.stranger.send(command("subscribe", self._topic, 0))
        everybody = (*self._watching, *self._asking, *self._waiting)
        work = (self._drive(), self._knock(), *(viewer.watch(self._told) for viewer in everybody))
        self._tasks = [asyncio.create_task(each) for each in work]
        await until(lambda: all(viewer.positions for viewer in self._watching) and self._admitted)

    async def _drive(self) -> None:
        while True:
            self._sent.append(now_ms())
            await self._platform.trackers.report("1", self._sent[-1])
            await asyncio.sleep(STEP_SECONDS)

    async def _knock(self) -> None:
        """Let one newcomer come after the other, until nobody is there who could say how it goes."""
        said: list[str] = []
        with suppress(ClientError):
            while True:
                answer = await self._service.knock(self._cookie)
                if answer == ADMITTED:
                    self._admitted += 1
                    assert set(said) != {DRAINING}, "where everybody says so nobody gets in any more"
                else:
                    self._refused += 1
                    assert answer in {NOBODY, HTTPStatus.SERVICE_UNAVAILABLE}
                said = await self._service.statuses()
                assert answer == ADMITTED or DRAINING in said, "nobody is refused before it is said"
                await asyncio.sleep(STEP_SECONDS)

    async def _told(self) -> None:
        """Take notice that somebody is told to go, and let the first one look what `/readyz` says."""
        if not self._told_one:
            self._told_one = True
            assert DRAINING in await self._service.statuses()

    def _check(self, began: float) -> None:
        assert self._refused
        everybody = (*self._watching, *self._asking, *self._waiting)
        assert {viewer.code for viewer in everybody} == {1012}
        told_at = sorted(viewer.told_at - began for viewer in self._watching)
        lasts_s = min(self._count / GOODBYES_PER_SECOND, SPREAD_SECONDS)
        assert told_at[3 * self._count // 4] - told_at[self._count // 4] > lasts_s / 4, "a half, if all goes well"
        for viewer in self._watching:
            first = self._sent.index(viewer.positions[0])
            assert viewer.positions == self._sent[first : first + len(viewer.positions)]
        for viewer in (*self._asking, *self._waiting):
            assert [answer["id"] for answer in viewer.answers] == [str(number) for number in range(len(COMMANDS))]
        assert {viewer.answers[0]["type"] for viewer in self._asking} == {"subscribed"}
        assert {viewer.answers[0].get("code") for viewer in self._waiting} == {"error"}
