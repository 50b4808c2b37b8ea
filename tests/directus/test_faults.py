"""Whatever comes from where Directus should be is a failure to answer: asked once, told in time, and never quoted."""

import asyncio
from collections.abc import Mapping
from functools import partial

import pytest

from processor_live import Check
from processor_live_demo.access import Access, Handler
from processor_live_demo.directus import answer
from processor_live_demo.embedded import free_port
from processor_live_directus.auth import WHO
from processor_live_directus.authorization import verdict_in
from processor_live_directus.client import Directus, Question
from tests.directus.conftest import EVENT, SECRET, ask, client_of, failure
from tests.directus.faults import CHUNKED, HALVES, HANGS, JSON, REFUSALS, raw
from tests.running import EVENTUALLY_SECONDS, Diary

EVENT_PATH = f"/items/events/{EVENT}?fields=id"
MAY_READ = Question("events", partial(verdict_in, EVENT), EVENTUALLY_SECONDS)
QUOTING: Mapping[str, Handler] = {
    "in half a header": raw(JSON + f"Set-Cookie: session={SECRET}".encode()),
    "in a header that is none": raw(JSON + f"Set-Cookie\1: session={SECRET}\r\n\r\n".encode()),
    "in a header that is too long": raw(JSON + f"Set-Cookie: session={SECRET * 1_000}\r\n\r\n".encode()),
    "in a chunk that is none": raw(CHUNKED + f"1\r\n \r\n{SECRET}\r\n".encode()),
    "in a status line": raw(f"{SECRET}\r\n\r\n".encode()),
    "in a page": answer(200, body=SECRET.encode()),
    "in an address": answer(302, headers={"Location": f"http://{SECRET}"}),
}


async def survive(directus: Directus, access: Access, check: Check, override: Handler, *, calls: int = 1) -> str:
    """Ask while this is the answer, and again when it is not, and return what an operator was told."""
    access.overrides["users"] = override
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        await failure(directus, timeout_ms=500, question=WHO)
    assert 1 <= len(access.calls) <= calls
    problem = str(check.problem)
    assert SECRET not in problem
    del access.overrides["users"]
    await ask(directus)
    assert check.problem is None
    return problem


@pytest.mark.parametrize("override", REFUSALS.values(), ids=REFUSALS)
async def test_an_answer_that_is_none_is_a_failure_and_asked_for_once(
    directus: Directus, access: Access, check: Check, override: Handler
) -> None:
    assert "Timeout" not in await survive(directus, access, check, override), "it is not waited for"


@pytest.mark.parametrize("override", HALVES.values(), ids=HALVES)
async def test_an_answer_that_breaks_off_is_a_failure_and_asked_for_twice_at_most(
    directus: Directus, access: Access, check: Check, override: Handler
) -> None:
    assert "Timeout" not in await survive(directus, access, check, override, calls=2)


@pytest.mark.parametrize("override", HANGS.values(), ids=HANGS)
async def test_an_answer_that_does_not_come_to_an_end_is_a_failure_after_the_timeout(
    directus: Directus, access: Access, check: Check, override: Handler
) -> None:
    assert "Timeout" in await survive(directus, access, check, override)


@pytest.mark.parametrize("override", QUOTING.values(), ids=QUOTING)
async def test_what_came_is_not_repeated_for_it_may_be_a_cookie(
    directus: Directus, access: Access, check: Check, override: Handler, diary: Diary
) -> None:
    await survive(directus, access, check, override, calls=2)
    assert diary.count("check.failing check=directus") == 1
    assert diary.count(SECRET) == 0


async def test_a_bomb_is_not_inflated(directus: Directus, access: Access, check: Check) -> None:
    problem = await survive(directus, access, check, REFUSALS["a bomb"])
    assert "more than 65536 bytes" in problem, "not the hundred megabytes that are no JSON"


async def test_a_port_where_nobody_listens_is_a_failure(check: Check) -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}", check) as nobody:
        assert (await failure(nobody)).status == "none"
    assert "Cannot connect" in str(check.problem)


async def test_one_kind_of_question_that_is_never_answered_is_told_once_not_once_a_viewer(
    directus: Directus, access: Access, check: Check, cookie: str, diary: Diary
) -> None:
    """A proxy lets `/users/me` through, but not the events: each viewer would make the check good and bad again."""
    access.overrides["events"] = answer(403, body=b"<!doctype html>")
    for _ in range(3):
        await ask(directus, cookie)
        await failure(directus, cookie=cookie, question=MAY_READ, path=EVENT_PATH)
        assert check.problem == "events: NoAnswerError: status 403 about an event"
    access.overrides["users"] = answer(500)
    await failure(directus, cookie=cookie)
    assert check.problem == "events: NoAnswerError: status 403 about an event; users: NoAnswerError: status 500"
    del access.overrides["events"]
    await ask(directus, cookie, question=MAY_READ, path=EVENT_PATH)
    assert check.problem == "users: NoAnswerError: status 500"
    del access.overrides["users"]
    await ask(directus, cookie)
    assert [diary.count(f"check.{state} check=directus") for state in ("failing", "good")] == [1, 1]
