"""How does a test stop a service that is a process of its own, and what does it look at?"""

import asyncio
import re
import signal
import socket
from asyncio.subprocess import Process
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession

from tests.core.stranger import UPGRADE
from tests.integration.platform import EVENTUALLY_SECONDS, Viewer
from tests.integration.process import logged

BOUND_SECONDS = 5
"""What a stop may take beyond LIVE_WS_DRAIN_TIMEOUT_MS (docs/contract.md §3)."""
PATIENT = {"LIVE_WS_DRAIN_TIMEOUT_MS": "60000", "DIRECTUS_AUTHZ_TIMEOUT_MS": "60000"}
AT_ONCE_SECONDS = 3
"""Half a second, if all goes well; with `PATIENT` the question alone would be waited for longer."""
UNFINISHED = b"POST / HTTP/1.1\r\nHost: live.rally.al\r\nContent-Length: 9\r\n\r\n"
"""A request whose body does not come."""
HANGING_THREAD = """
import asyncio, threading

lookups = []

def setup(app):
    async def look_up(_):
        lookups.append(asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 60))
    app.on_startup.append(look_up)
"""
"""A plugin that does what the system's resolver does when the server of names does not answer."""
NOBODY = 0
"""The status of a handshake that nobody answers."""
POLL_SECONDS = 0.05


@dataclass
class Service:
    """A process that serves, or several behind one port."""

    process: Process
    port: int
    health_ports: list[int]
    session: ClientSession
    log: list[str]

    @property
    def url(self) -> str:
        """Where viewers connect."""
        return f"ws://127.0.0.1:{self.port}/ws-live"

    async def statuses(self) -> list[str]:
        """Return what each `/readyz` says, and its HTTP status."""
        answers = []
        for port in self.health_ports:
            async with self.session.get(f"http://127.0.0.1:{port}/readyz") as response:
                answers.append(f"{response.status} {(await response.json())['status']}")
        return answers

    async def metric(self, name: str) -> float:
        """Return what a metric says, of all processes together."""
        total = 0.0
        for port in self.health_ports:
            async with self.session.get(f"http://127.0.0.1:{port}/metrics") as response:
                total += sum(map(float, re.findall(rf"^{name} (\S+)$", await response.text(), re.MULTILINE)))
        return total

    async def until(self, name: str, least: float) -> None:
        """Wait until a metric has at least this value."""
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while await self.metric(name) < least:  # noqa: ASYNC110 - it is about another process
                await asyncio.sleep(POLL_SECONDS)

    async def knock(self, cookie: str) -> int:
        """Ask for a WebSocket and return the status of the answer."""
        headers = {"Cookie": cookie, **dict(line.split(": ") for line in UPGRADE)}
        try:
            async with self.session.get(f"http://127.0.0.1:{self.port}/ws-live", headers=headers) as response:
                return response.status
        except (ClientError, ConnectionError):
            return NOBODY

    async def end(self, within_s: float) -> str:
        """Wait for the end, which must be a good one, and return the log."""
        async with asyncio.timeout(within_s):
            _, rest = await self.process.communicate()
        log = "".join(self.log) + rest.decode()
        assert self.process.returncode == 0, log
        assert "Traceback" not in log, log
        return log


async def serving(process: Process, session: ClientSession, port: int | None = None, workers: int = 1) -> Service:
    """Wait until a process, or each of its workers, is open; it logs its port unless that is given."""
    log: list[str] = []
    if port is None:
        port = int((await logged(process, r"live\.listening host=\S+ port=(\d+)", log))[1])
    health, opened = r"health\.listening host=\S+ port=(\d+)", r"live\.open status="
    while any(len(re.findall(sign, "".join(log))) < workers for sign in (health, opened)):
        await logged(process, f"{health}|{opened}", log)
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while _refuses(port):  # noqa: ASYNC110 - it is about another process
            await asyncio.sleep(POLL_SECONDS)
    return Service(process, port, [int(port) for port in re.findall(health, "".join(log))], session, log)


def _refuses(port: int) -> bool:
    """Return whether nobody listens: it is open a moment before it does."""
    with socket.socket() as newcomer:
        return newcomer.connect_ex(("127.0.0.1", port)) != 0


async def see_it_hurry(service: Service, viewer: Viewer, topic: str, again: signal.Signals) -> None:
    """Stop a service while a viewer's question hangs at Directus, and send `again`: then it does not wait for that."""
    await viewer.socket.send_json({"type": "subscribe", "topic": topic})
    await service.until("live_directus_waiting", 1)
    service.process.send_signal(signal.SIGTERM)
    await logged(service.process, r"drain\.started connections=1")
    service.process.send_signal(again)
    ending = asyncio.create_task(service.end(AT_ONCE_SECONDS))
    assert (await viewer.answer())["code"] == "error"
    assert await viewer.close_code() == 1012
    await ending
