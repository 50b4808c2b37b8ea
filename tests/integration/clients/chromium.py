"""A browser of the machine, and everything it complains about."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

TIMEOUT_MS = 20_000
QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser that talks to nobody by itself."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*QUIET])
        yield browser
        await browser.close()


@dataclass
class Tab:
    """A page of one origin."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings, violations of the page's own policy among them."""
    unavoidable: str = "(?!)"
    """A pattern of what a browser complains of by itself; nothing, unless a test knows better."""
    asked: set[str] = field(default_factory=set)
    """The origins from which something was wanted, by HTTP or through a WebSocket."""

    @classmethod
    async def open(cls, browser: Browser, origin: str, cookie: str = "", **options: Any) -> "Tab":  # noqa: ANN401 - as playwright has them
        """Return an empty tab, signed in with a `Cookie` header or not at all."""
        page = await (await browser.new_context(**options)).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        tab = cls(page, origin)
        page.on("console", tab._hear)
        page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        page.on("request", lambda request: tab._see(request.url))
        page.on("websocket", lambda socket: tab._see(socket.url))
        if cookie:
            await tab.sign_in(cookie)
        return tab

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _see(self, url: str) -> None:
        self.asked.add("/".join(re.sub("^ws", "http", url).split("/")[:3]))

    def check(self) -> None:
        """Raise AssertionError if there was reason to complain, or another host was asked for something."""
        complaints = [each for each in self.complaints if not re.search(self.unavoidable, each)]
        assert complaints == [], complaints
        assert self.asked <= {self.origin}, self.asked

    async def sign_in(self, cookie: str) -> None:
        """Keep a `Cookie` header for the origin, instead of the one before."""
        name, _, value = cookie.partition("=")
        await self.page.context.add_cookies([{"name": name, "value": value, "url": self.origin}])

    async def go(self, path: str) -> None:
        """Open a page of the origin."""
        await self.page.goto(f"{self.origin}{path}")

    async def reads(self, selector: str, text: str) -> None:
        """Wait until an element's text has `text` in it."""
        await self.page.locator(selector).filter(has_text=text).wait_for()

    async def until(self, function: str, accept: Callable[[Any], object]) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Ask a JavaScript function until its answer is accepted, and return that.

        Not `wait_for_function`: that needs an `eval` in the page, which its policy forbids.
        """
        async with asyncio.timeout(TIMEOUT_MS / 1000):
            while not accept(answer := await self.page.evaluate(function)):
                pass
        return answer
