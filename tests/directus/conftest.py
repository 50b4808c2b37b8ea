"""A stand-in Directus on a loopback port, and who may see what there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from processor_live import Check, load, one_line
from processor_live_demo.access import Access, User
from processor_live_demo.directus import make_directus
from processor_live_directus.client import Directus, DirectusSettings, NoAnswerError, Question
from tests.running import EVENTUALLY_SECONDS, Diary, keeping_a_diary

ANA = "ana@rally.al"
BEN = "ben@rally.al"
EVENT = "0190a000-0000-7000-8000-0000000000e1"
OTHER_EVENT = "0190a000-0000-7000-8000-0000000000e2"
SECRET = "q8zz7secret"
ANYTHING = Question("users", lambda answer: answer, patience_s=EVENTUALLY_SECONDS)


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


@asynccontextmanager
async def client_of(base_url: str, check: Check, places: int = 1) -> AsyncIterator[Directus]:
    """Run a client of a Directus."""
    environ = {"DIRECTUS_BASE_URL": base_url, "DIRECTUS_MAX_CONCURRENCY": str(places)}
    directus = Directus(load(DirectusSettings, environ), check)
    context = directus.context(web.Application())
    await anext(context)
    try:
        yield directus
    finally:
        assert [None async for _ in context] == []


@pytest.fixture
def check() -> Check:
    """What an operator sees of Directus."""
    return Check("directus", critical=False, problem=None)


@pytest.fixture
async def directus(directus_url: str, check: Check) -> AsyncIterator[Directus]:
    """A client of the stand-in."""
    async with client_of(directus_url, check, places=4) as directus:
        yield directus


async def ask(
    directus: Directus,
    cookie: str = f"session={SECRET}",
    address: str = "192.0.2.7",
    timeout_ms: int = 10_000,
    question: Question[Any] = ANYTHING,
    path: str = "/users/me?fields=id",
) -> Any:  # noqa: ANN401 - whatever the question makes of it
    """Ask one question."""
    return await directus.get(question, path, cookie=cookie, address=address, timeout_ms=timeout_ms)


async def failure(directus: Directus, **more: Any) -> NoAnswerError:  # noqa: ANN401 - as `ask` has it
    """Ask, and return the failure to answer; neither it nor what a traceback shows of it holds the cookie."""
    with pytest.raises(NoAnswerError) as caught:
        await ask(directus, **more)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert SECRET not in one_line(caught.value) + repr(caught.value)
    return caught.value
