"""Directus is asked once, in time and in the client's name; what is no answer of its own is a failure to answer."""

import asyncio
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from processor_live import Check, StartError, load
from processor_live_demo.access import Access, Handler
from processor_live_demo.directus import answer, silence
from processor_live_directus.client import (
    MAX_BODY_BYTES,
    Answer,
    Directus,
    DirectusSettings,
    NoAnswerError,
    Question,
)
from tests.core.wire import metric
from tests.directus.conftest import ANA, ANYTHING, EVENT, SECRET, Gate, ask, client_of, failure
from tests.running import EVENTUALLY_SECONDS, Diary, until

CALLS = "live_directus_calls_total"
IMPATIENT = replace(ANYTHING, patience_s=0.1)


async def test_what_directus_says_is_read(directus: Directus, access: Access, cookie: str, check: Check) -> None:
    check.failing("before")
    user = access.users[ANA]
    assert await ask(directus, cookie) == Answer(200, user.id, None)
    assert await ask(directus, cookie, path=f"/items/events/{EVENT}?fields=id") == Answer(200, EVENT, None)
    assert await ask(directus) == Answer(401, None, "INVALID_CREDENTIALS")
    assert check.problem is None


COOKIES = [
    "directus_session_token=abc",
    "other=1; directus_session_token=abc; directus_session_token=def",
    'quoted="a,b;c"; empty=; =nameless; spaces = around',
    "garbage without an equals sign",
    "utf-8=Durr\u00ebs",
]


@pytest.mark.parametrize("cookie", COOKIES)
async def test_the_cookie_goes_verbatim_with_the_clients_address_and_nothing_else(
    directus: Directus, access: Access, cookie: str
) -> None:
    await ask(directus, cookie, "2001:db8::7", path="/users/me?fields=id,email")
    [call] = access.calls
    assert call.path == "/users/me?fields=id,email"
    headers = CIMultiDict(call.headers)
    assert headers.getall("Cookie") == [cookie]
    assert headers.getall("X-Forwarded-For") == ["2001:db8::7"]
    assert {name.lower() for name in headers} <= {
        *("host", "cookie", "x-forwarded-for", "accept", "accept-encoding", "user-agent"),
    }


async def test_without_an_address_none_is_claimed(directus: Directus, access: Access) -> None:
    await ask(directus, address="")
    assert "X-Forwarded-For" not in access.calls[0].headers


async def test_a_cookie_that_directus_sets_is_not_kept(
    directus_url: str, access: Access, check: Check, cookie: str
) -> None:
    """It would sign the next viewer in as this one."""
    access.overrides["users"] = answer(200, body=b'{"data":{"id":"x"}}', headers={"Set-Cookie": cookie})
    named = directus_url.replace("127.0.0.1", "localhost")  # a cookie jar would take nothing from a mere address
    async with client_of(named, check) as directus:
        await ask(directus)
        del access.overrides["users"]
        assert (await ask(directus)).status == 401
    assert access.calls[1].headers["Cookie"] == f"session={SECRET}"


async def test_a_slash_at_the_end_of_the_base_url_does_no_harm(
    directus_url: str, check: Check, cookie: str, access: Access
) -> None:
    async with client_of(directus_url + "/", check) as directus:
        assert (await ask(directus, cookie)).status == 200
    assert access.calls[0].path == "/users/me?fields=id"


HTML = b"<!doctype html><title>502</title>"
FAILURES = {
    "429": ("429", answer(429, headers={"Retry-After": "1"})),
    "429 with a body": ("429", answer(429, body=b'{"errors":[{"extensions":{"code":"REQUESTS_EXCEEDED"}}]}')),
    "500": ("500", answer(500, body=b'{"errors":[{"extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}')),
    "502": ("502", answer(502, body=HTML)),
    "503": ("503", answer(503, body=b'{"errors":[{"extensions":{"code":"SERVICE_UNAVAILABLE"}}]}')),
    "503 with data": ("503", answer(503, body=b'{"data":{"id":"1"}}')),
    "599": ("599", answer(599)),
    "html": ("200", answer(200, body=HTML)),
    "empty": ("200", answer(200)),
    "half": ("200", answer(200, body=b'{"data":{"id":')),
    "not utf-8": ("200", answer(200, body=b'{"data":{"id":"\xff"}}')),
    "list": ("200", answer(200, body=b'{"data":[{"id":"1"}]}')),
    "null itself": ("200", answer(200, body=b"null")),
    "no id": ("200", answer(200, body=b'{"data":{}}')),
    "null id": ("200", answer(200, body=b'{"data":{"id":null}}')),
    "number id": ("200", answer(200, body=b'{"data":{"id":1}}')),
    "huge refusal": ("none", answer(403, body=b" " * (MAX_BODY_BYTES + 1))),
}


@pytest.mark.parametrize(("status", "override"), FAILURES.values(), ids=FAILURES)
async def test_what_is_no_answer_of_directus_is_a_failure(
    directus: Directus, access: Access, check: Check, status: str, override: Handler
) -> None:
    access.overrides["users"] = override
    before = metric(CALLS, kind="users", status=status)
    assert (await failure(directus)).status == status
    assert len(access.calls) == 1, "no retries"
    assert metric(CALLS, kind="users", status=status) - before == 1
    assert check.problem is not None
    del access.overrides["users"]
    await ask(directus)
    assert check.problem is None


async def test_the_largest_answer_that_is_read(directus: Directus, access: Access) -> None:
    body = b'{"data":{"id":"1"}}'
    access.overrides["users"] = answer(200, body=body + b" " * (MAX_BODY_BYTES - len(body)))
    assert (await ask(directus)).id == "1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(directus: Directus, access: Access, directus_url: str, status: int) -> None:
    access.overrides["users"] = answer(status, headers={"Location": f"{directus_url}/items/events/{EVENT}"})
    assert await ask(directus) == Answer(status, None, None)
    assert access.calls_by_kind() == {"users": 1}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"errors":[{"message":"no","extensions":{"code":"FORBIDDEN","reason":1},"x":1}],"y":2}', "FORBIDDEN"),
        (b'{"errors":[{"extensions":{"code":"A"}},{"extensions":{"code":"B"}}]}', "A"),
        (b'{"errors":[{"message":"no"}]}', None),
        (b'{"errors":[{"extensions":{}}]}', None),
        (b'{"errors":[{"extensions":{"code":null}}]}', None),
        (b'{"errors":[{"extensions":{"code":7}}]}', None),
        (b'{"errors":[]}', None),
        (b'{"errors":null}', None),
        (b'{"errors":"FORBIDDEN"}', None),
        (HTML, None),
        (b"", None),
        (b"[" * 60_000, None),
    ],
)
async def test_a_refusal_has_the_code_of_its_first_error_or_none(
    directus: Directus, access: Access, body: bytes, code: str | None
) -> None:
    access.overrides["users"] = answer(403, body=body)
    assert await ask(directus) == Answer(403, None, code)


async def test_data_that_is_null_is_an_answer_without_id(directus: Directus, access: Access) -> None:
    access.overrides["users"] = answer(200, body=b'{"data":null}')
    assert await ask(directus) == Answer(200, None, None)


async def test_an_answer_that_the_question_can_make_nothing_of_is_a_failure(
    directus: Directus, cookie: str, check: Check
) -> None:
    def puzzled(answer: Answer) -> None:
        raise NoAnswerError(f"status {answer.status}", str(answer.status))

    before = metric(CALLS, kind="events", status="200")
    question = Question("events", puzzled, EVENTUALLY_SECONDS)
    assert (await failure(directus, cookie=cookie, question=question)).status == "200"
    assert metric(CALLS, kind="events", status="200") - before == 1
    assert check.problem == "events: NoAnswerError: status 200"


async def test_so_many_calls_at_the_same_time_and_no_more(directus: Directus, access: Access) -> None:
    gate = access.overrides["users"] = Gate()
    waiting = metric("live_directus_waiting")
    calls = [asyncio.create_task(ask(directus, f"session={number}")) for number in range(20)]
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        await until(lambda: gate.inside == 4)
        assert metric("live_directus_waiting") - waiting == 20
        assert len(access.calls) == 4
        gate.opened.set()
        assert [answer.id for answer in await asyncio.gather(*calls)] == ["1"] * 20
    assert gate.most == 4
    assert metric("live_directus_waiting") == waiting


async def test_who_is_in_already_does_not_wait_behind_a_crowd_of_newcomers(directus: Directus, access: Access) -> None:
    gate = access.overrides["users"] = access.overrides["events"] = Gate()
    newcomer = replace(ANYTHING, newcomer=True)
    crowd = [asyncio.create_task(ask(directus, f"session={number}", question=newcomer)) for number in range(20)]
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        await until(lambda: gate.inside == 2)
        member = asyncio.create_task(ask(directus, path=f"/items/events/{EVENT}?fields=id"))
        await until(lambda: gate.inside == 3)
        assert access.calls_by_kind() == {"users": 2, "events": 1}
        gate.opened.set()
        assert {answer.id for answer in await asyncio.gather(member, *crowd)} == {"1"}
    assert gate.most <= 4


async def test_waiting_for_a_place_ends_with_the_patience_of_who_asks(
    directus_url: str, access: Access, check: Check
) -> None:
    gate = access.overrides["users"] = Gate()
    waiting, unasked = metric("live_directus_waiting"), metric(CALLS, kind="users", status="unasked")
    async with client_of(directus_url, check) as directus:
        first = asyncio.create_task(ask(directus))
        await gate.entered.wait()
        assert (await failure(directus, question=IMPATIENT)).status == "unasked"
        assert len(access.calls) == 1, "who has waited in vain never came to ask"
        assert metric("live_directus_waiting") - waiting == 1
        assert metric(CALLS, kind="users", status="unasked") - unasked == 1
        gate.opened.set()
        assert (await first).status == 200
        assert (await ask(directus)).status == 200, "the place is free again"


async def test_who_has_a_place_is_not_hurried_by_the_patience_for_one(directus: Directus, access: Access) -> None:
    """Or all calls of a crowd would be in vain: each begins just before the patience of who asks is over."""
    gate = access.overrides["users"] = Gate()
    call = asyncio.create_task(ask(directus, question=IMPATIENT))
    await gate.entered.wait()
    await asyncio.sleep(2 * IMPATIENT.patience_s)
    gate.opened.set()
    assert (await call).status == 200


async def test_who_leaves_makes_no_room_for_another_before_directus_has_done(
    directus_url: str, access: Access, check: Check
) -> None:
    """Directus does not notice: it would work on more and more calls that nobody waits for."""
    gate = access.overrides["users"] = Gate()
    answered, waiting = metric(CALLS, kind="users", status="200"), metric("live_directus_waiting")
    async with client_of(directus_url, check) as directus:
        call = asyncio.create_task(ask(directus))
        await gate.entered.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await failure(directus, question=IMPATIENT)
        assert len(access.calls) == 1
        assert metric("live_directus_waiting") - waiting == 1, "it is under way"
        gate.opened.set()
        assert (await ask(directus)).status == 200
    assert gate.most == 1
    assert metric("live_directus_waiting") == waiting
    assert metric(CALLS, kind="users", status="200") - answered == 2, "all that Directus has answered"


async def test_a_service_that_stops_waits_for_no_call(directus_url: str, access: Access, check: Check) -> None:
    gate = access.overrides["users"] = Gate()
    async with asyncio.timeout(EVENTUALLY_SECONDS), client_of(directus_url, check) as directus:
        call = asyncio.create_task(ask(directus, timeout_ms=60_000))
        await gate.entered.wait()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.opened.set()


async def test_a_storm_is_told_once_however_many_are_turned_away_and_answered_in_it(
    directus_url: str, access: Access, check: Check, diary: Diary
) -> None:
    gate = access.overrides["users"] = Gate()
    async with client_of(directus_url, check) as directus:
        for call in [asyncio.create_task(ask(directus)) for _ in range(3)]:
            await gate.entered.wait()
            gate.entered.clear()
            await failure(directus, question=IMPATIENT)
            gate.opened.set()
            gate.opened.clear()
            assert (await call).status == 200
            assert check.problem == "users waiting: no free place within 0.1 s"
        gate.opened.set()
        await ask(directus)
        assert check.problem is None
    assert [diary.count(f"check.{state} check=directus") for state in ("failing", "good")] == [1, 1]


async def test_the_timeout_of_a_call_begins_when_it_has_its_place(
    directus_url: str, access: Access, check: Check
) -> None:
    access.overrides["users"] = gate = Gate()
    async with client_of(directus_url, check) as directus:
        first = asyncio.create_task(failure(directus, timeout_ms=500))
        await gate.entered.wait()
        second = asyncio.create_task(ask(directus, timeout_ms=500))
        assert (await first).status == "none"
        gate.opened.set()
        assert (await second).status == 200


@pytest.mark.parametrize("override", [answer(503), answer(200, body=HTML), silence(), None])
async def test_the_cookie_is_never_logged(
    directus: Directus, access: Access, override: Handler | None, diary: Diary
) -> None:
    if override is None:
        await ask(directus)
    else:
        access.overrides["users"] = override
        await failure(directus, timeout_ms=50)
        assert diary.count("check.failing check=directus") == 1
    assert diary.count(SECRET) == 0


async def test_a_cookie_that_is_no_header_is_a_failure_that_does_not_quote_it(directus: Directus) -> None:
    assert (await failure(directus, cookie=f"a={SECRET}\r\nAuthorization: Bearer x")).status == "none"


async def test_a_url_that_cannot_be_asked_is_a_failure_that_does_not_quote_it(
    directus: Directus, check: Check, diary: Diary
) -> None:
    assert (await failure(directus, path=f":{SECRET}\\@directus")).status == "none"
    assert str(check.problem).startswith("users: InvalidUrlClientError: ")
    assert SECRET not in str(check.problem)
    assert (diary.count("check.failing check=directus"), diary.count(SECRET)) == (1, 0)


@pytest.mark.parametrize(
    "rest",
    ["\\x@directus", "[@directus", "@a\\b", "@é..com", "@xn--é", f"@{'é' * 70}", "@℀", "@[::1]x", "@:8055"]
    + [f"@directus:{port}" for port in ("0", "99999", "port", "8055:8055")],
)
def test_a_base_url_that_aiohttp_would_refuse_to_ask_stops_the_start_with_a_line_that_holds_no_password(
    rest: str,
) -> None:
    with pytest.raises(StartError, match=r"^processor-live: DIRECTUS_BASE_URL cannot be read: .*$") as caught:
        load(DirectusSettings, {"DIRECTUS_BASE_URL": f"http://live:{SECRET}{rest}"})
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None, "a traceback would show it"


@pytest.mark.parametrize(
    "base_url", ["http://live:a%2Fb;é@directus:8055/api/", "https://[fe80::1%25eth0]", "http://durrës"]
)
def test_a_base_url_may_have_a_user_a_path_an_address_and_letters_beyond_ascii(base_url: str) -> None:
    assert load(DirectusSettings, {"DIRECTUS_BASE_URL": base_url}).base_url == base_url
