"""A stand-in Directus on a loopback port, and who may see what there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from processor_live_demo.access import Access, User
from processor_live_demo.directus import make_directus
from tests.running import Diary, keeping_a_diary

ANA = "ana@rally.al"
BEN = "ben@rally.al"
EVENT = "0190a000-0000-7000-8000-0000000000e1"
OTHER_EVENT = "0190a000-0000-7000-8000-0000000000e2"


@pytest.fixture
def access() -> Access:
    """What Directus knows: Ana may read an event, Ben nothing, not even users."""
    return Access(
        [
            User(email=ANA, password="pw", events={EVENT}, role="steward", first_name="Ana"),
            User(email=BEN, password="pw", events=set(), reads_users=False),
        ]
    )


@pytest.fixture
def cookie(access: Access) -> str:
    """Ana's `Cookie` header."""
    return access.sign_in(ANA)


@pytest.fixture
async def directus_url(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], access: Access) -> str:
    """Where the stand-in answers."""
    server = await aiohttp_server(make_directus(access))
    return str(server.make_url("")).rstrip("/")


@pytest.fixture
async def diary() -> AsyncIterator[Diary]:
    """What the service logs."""
    with keeping_a_diary() as diary:
        yield diary


class Gate:
    """An override that lets nobody through until it is opened, and counts."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _: web.Request) -> web.Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        await self.opened.wait()
        self.inside -= 1
        return web.json_response({"data": {"id": "1"}})
