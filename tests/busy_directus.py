"""How does a Directus answer that can do so much a second, and no more?"""

import asyncio
from collections import Counter

from aiohttp import web

from processor_live_demo.access import Access, Kind


class BusyDirectus:
    """Lets everybody in and everybody follow everything, one after another, also those who have given up waiting."""

    def __init__(self, access: Access, answers_per_second: float) -> None:
        self.answered: Counter[Kind] = Counter()
        self.most_at_once = 0
        """Calls that were waiting for an answer at the same time."""
        self._at_once = 0
        self._pause_s = 1 / answers_per_second
        self._free_at = 0.0
        access.overrides = {"users": self._me, "events": self._event}

    async def _me(self, _: web.Request) -> web.StreamResponse:
        return await self._answer("users", "ana")

    async def _event(self, request: web.Request) -> web.StreamResponse:
        return await self._answer("events", request.path.rpartition("/")[2])

    async def _answer(self, kind: Kind, id_: str) -> web.StreamResponse:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + self._pause_s
        await asyncio.sleep(self._free_at - now)
        self._at_once -= 1
        self.answered[kind] += 1
        return web.json_response({"data": {"id": id_}})
