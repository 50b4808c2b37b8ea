"""How does a tab come to be behind another one? Playwright lets all of its own believe that they are in front."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from playwright.async_api import Browser, CDPSession

from tests.integration.clients.chromium import TIMEOUT_MS


@dataclass
class OwnTab:
    """A tab that Playwright does not know of, spoken to in the browser's own protocol."""

    browser: CDPSession
    context: str
    target: str
    session: str
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings, but for those of a connection that the browser ends when it lets a tab sleep."""
    _numbers: Iterator[int] = field(default_factory=count)
    _asked: dict[int, asyncio.Future[Any]] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, browser: Browser, origin: str, cookie: str) -> AsyncIterator["OwnTab"]:
        """Yield an empty tab in front of which nothing is, signed in with a `Cookie` header."""
        cdp = await browser.new_browser_cdp_session()
        context = (await cdp.send("Target.createBrowserContext"))["browserContextId"]
        name, _, value = cookie.partition("=")
        cookies = [{"name": name, "value": value, "url": origin}]
        await cdp.send("Storage.setCookies", {"browserContextId": context, "cookies": cookies})
        target = await cdp.send("Target.createTarget", {"url": "about:blank", "browserContextId": context})
        attached = await cdp.send("Target.attachToTarget", {"targetId": target["targetId"], "flatten": False})
        tab = cls(cdp, context, target["targetId"], attached["sessionId"])
        cdp.on("Target.receivedMessageFromTarget", tab._hear)
        for domain in ("Log", "Runtime"):
            await tab.call(f"{domain}.enable")
        yield tab
        await cdp.send("Target.disposeBrowserContext", {"browserContextId": context})
        assert tab.complaints == [], tab.complaints

    def _hear(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        match message:
            case {"id": number}:
                self._asked.pop(number).set_result(message)
            case (
                {"method": "Runtime.exceptionThrown"}
                | {"method": "Log.entryAdded", "params": {"entry": {"level": "error" | "warning"}}}
                | {"method": "Runtime.consoleAPICalled", "params": {"type": "error" | "warning"}}
            ):
                if "entered Back-Forward Cache" not in event["message"]:
                    self.complaints.append(event["message"])

    async def call(self, method: str, **params: object) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Have the browser do something with the tab."""
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        message = json.dumps({"id": number, "method": method, "params": params})
        await self.browser.send("Target.sendMessageToTarget", {"sessionId": self.session, "message": message})
        async with asyncio.timeout(TIMEOUT_MS / 1000):
            answer = await asked
        return answer["result"]

    async def evaluate(self, function: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return what a JavaScript function returns."""
        answer = await self.call("Runtime.evaluate", expression=f"({function})()", returnByValue=True)
        return answer["result"].get("value")

    async def until(self, function: str, expected: object) -> None:
        """Ask a JavaScript function until it returns what is expected."""
        async with asyncio.timeout(TIMEOUT_MS / 1000):
            while await self.evaluate(function) != expected:
                pass

    async def hide(self) -> None:
        """Put another tab in front of it."""
        await self.browser.send("Target.createTarget", {"url": "about:blank", "browserContextId": self.context})
        await self.until(VISIBILITY, "hidden")

    async def show(self) -> None:
        """Bring it to the front again."""
        await self.browser.send("Target.activateTarget", {"targetId": self.target})
        await self.until(VISIBILITY, "visible")

    async def heap_bytes(self) -> float:
        """Return what the page has in memory that is of use to it."""
        await self.call("HeapProfiler.collectGarbage")
        return float((await self.call("Runtime.getHeapUsage"))["usedSize"])


VISIBILITY = "() => document.visibilityState"
