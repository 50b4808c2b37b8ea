"""What can a client's tests have done to the service and to what stands around it, from a process of their own?"""

import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from processor_live_demo.access import Access
from tests.integration.platform import Platform
from tests.integration.process import SERVE, Start, logged

Action = Callable[..., Awaitable[object]]

EVENTS = 25
"""Made before the service starts, because it reads who takes part in what when it starts."""


@dataclass
class Stage:
    """The service as a process of its own, at an address that stays, and a door at which tests in Node knock."""

    platform: Platform
    access: Access
    user: str
    start: Start
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, list[str]]] = field(default_factory=list)
    """Each with its devices, not given to a test yet."""
    process: Process | None = None

    @property
    def url(self) -> str:
        """Where the service is."""
        return f"ws://127.0.0.1:{self.port}/ws-live"

    async def open(self) -> None:
        """Let the rally begin."""
        for number in range(EVENTS):
            event, imeis = self.platform.database.add_event(), [f"{number}-{device}" for device in range(2)]
            self.platform.database.register(event, *imeis)
            self.access.users[self.user].events.add(event)
            self.events.append((event, imeis))
        await self.serve()

    async def serve(self) -> None:
        """Start the service."""
        self.process = await self.start(*SERVE, LIVE_WS_PORT=str(self.port), **self.settings)
        await logged(self.process, r"check\.good check=fanout")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the service politely, or as `number` does."""
        assert self.process is not None
        self.process.send_signal(number)
        await self.process.communicate()

    async def restart(self) -> None:
        """Do what an operator does for a new release."""
        await self.stop()
        await self.serve()

    async def kill(self) -> None:
        """Let the service die without a word, and be started again."""
        await self.stop(signal.SIGKILL)
        await self.serve()

    async def freeze(self) -> None:
        """Let the service hang: its connections stay, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def add_event(self) -> dict[str, object]:
        """Return the topic of an event that no other test has, and its devices."""
        event, imeis = self.events.pop()
        return {"topic": f"event:{event}", "imeis": imeis}

    async def forbid(self, topic: str) -> None:
        """Close an event to the spectators."""
        self.access.users[self.user].events.discard(topic.removeprefix("event:"))

    async def report(self, imei: str, ts: int) -> None:
        """Let a device send its position."""
        await self.platform.trackers.report(imei, ts)

    async def sign_in(self) -> str:
        """Return the `Cookie` header of a new session."""
        return self.access.sign_in(self.user)

    async def sign_out(self, cookie: str) -> None:
        """End a session."""
        self.access.end_session(cookie)


def make_door(stage: Stage) -> web.Application:
    """Return where a test knocks: `POST /ACTION` takes the arguments as a JSON object and answers what it returns."""
    actions: tuple[Action, ...] = (
        *(stage.serve, stage.stop, stage.restart, stage.kill, stage.freeze, stage.thaw),
        *(stage.add_event, stage.forbid, stage.report, stage.sign_in, stage.sign_out),
    )

    def answering(action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(await action(**await request.json()))

        return answer

    app = web.Application()
    for action in actions:
        app.router.add_post(f"/{action.__name__}", answering(action))
    return app
