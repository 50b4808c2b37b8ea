"""What does a browser see of a deployment? One origin, whoever answers behind it."""

from dataclasses import dataclass

from processor_live_demo.access import COOKIE_NAME
from processor_live_demo.child import Child
from tests.integration.platform import Served, Viewer

ADDRESS = "127.0.0.2"
"""Where the browsers are: not where the proxy is."""


@dataclass
class Front(Served):
    """A proxy before the platform, its URL the origin; its own session trusts the certificate and has ADDRESS."""

    proxy: Child

    async def sign_in(self, email: str) -> str:
        """Sign in as the SPA does, and return the `Cookie` header that the browser has from then on."""
        form = {"email": email, "password": "pw", "mode": "session"}
        async with self.session.post(f"{self.url}/auth/login", json=form) as response:
            return f"{COOKIE_NAME}={response.cookies[COOKIE_NAME].value}"

    async def page(self) -> str:
        """Return the SPA's page."""
        async with self.session.get(f"{self.url}/") as response:
            return await response.text()

    async def browser(self, cookie: str, *, compress: int = 0, **headers: str) -> Viewer:
        """Let the SPA's page connect: browsers say from which origin."""
        headers = {"Origin": self.url, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.viewer(cookie, headers=headers, compress=compress)
