"""What may a client say? Strictly what docs/contract.md §2 says, answered in order."""

import asyncio
import json

import pytest
from aiohttp import web

from processor_live_demo.access import Access, Handler
from processor_live_demo.directus import answer, silence
from tests.integration.platform import Live, Message, Platform, Viewer

NOWHERE = "event:6f1c5c0e-0000-4000-8000-000000000000"


@pytest.fixture
async def live(platform: Platform) -> Live:
    return await platform.start(DIRECTUS_AUTHZ_TIMEOUT_MS="300")


@pytest.fixture
async def viewer(live: Live, cookie: str) -> Viewer:
    return await live.viewer(cookie)


async def test_a_forbidden_topic_and_one_that_does_not_exist_look_the_same(
    live: Live, access: Access, topic: str
) -> None:
    ben = await live.viewer(access.sign_in("ben@rally.al"))
    for unreadable in (topic, NOWHERE):
        refused = await ben.ask("subscribe", unreadable, id="1")
        assert {**refused, "message": ""} == {
            "type": "error",
            "code": "forbidden",
            "topic": unreadable,
            "id": "1",
            "message": "",
        }
    assert (await ben.ask("unsubscribe", topic))["type"] == "unsubscribed"


@pytest.mark.parametrize(
    "spelling",
    [
        *("", "event:", "event:1", "device:1", "event:*", "events:{}", "event:{}/", "event: {}", "event:{}\n"),
        *("event:{}?fields=*", "event:{}%00", "event:../users", "Event:{}", "event:{{{}}}", "event:٣{}"),
    ],
)
async def test_any_other_spelling_is_an_unknown_topic_and_directus_is_not_asked(
    viewer: Viewer, access: Access, event: str, spelling: str
) -> None:
    refused = await viewer.ask("subscribe", spelling.format(event))
    assert (refused["code"], refused["topic"]) == ("unknown-topic", spelling.format(event))
    assert access.calls_by_kind()["events"] == 0


async def test_an_upper_case_uuid_is_another_spelling(viewer: Viewer, event: str) -> None:
    assert (await viewer.ask("subscribe", f"event:{event.upper()}"))["code"] == "unknown-topic"


@pytest.mark.parametrize(
    ("override", "code"),
    [
        (answer(404), "not-found"),
        (answer(403), "error"),
        (answer(403, body=b'{"errors":[{"extensions":{"code":"OTHER"}}]}'), "error"),
        (answer(429, headers={"Retry-After": "1"}), "error"),
        (answer(500), "error"),
        (answer(200, body=b'{"data": null}'), "error"),
        (answer(200, body=b'{"data": {"id": "another"}}'), "error"),
        (answer(200, body=b"garbage"), "error"),
        (silence(), "error"),
    ],
    ids=["404", "403 without code", "403 of another kind", "429", "500", "null", "another id", "garbage", "silence"],
)
async def test_what_directus_says_decides(
    viewer: Viewer, access: Access, topic: str, override: Handler, code: str
) -> None:
    access.overrides["events"] = override
    assert (await viewer.ask("subscribe", topic))["code"] == code
    assert access.calls_by_kind()["events"] == 1
    del access.overrides["events"]
    assert await viewer.snapshot(topic) == {}


async def test_a_probe_is_answered_however_often_and_is_neither_a_violation_nor_anybody_elses_business(
    viewer: Viewer, access: Access, topic: str
) -> None:
    await viewer.snapshot(topic)
    for number in range(15):
        answer = await viewer.ask("unsubscribe", "probe", id=str(number))
        assert answer == {"type": "unsubscribed", "topic": "probe", "id": str(number)}
    assert access.calls_by_kind()["events"] == 1


async def test_a_session_that_has_ended_closes_the_connection_with_4401(
    viewer: Viewer, access: Access, topic: str, cookie: str
) -> None:
    await viewer.snapshot(topic)
    access.end_session(cookie)
    assert (await viewer.ask("subscribe", topic))["code"] == "session-ended"
    assert await viewer.close_code() == 4401


async def test_subscribing_again_is_authorized_again_and_a_refusal_ends_the_old_subscription(
    platform: Platform, live: Live, viewer: Viewer, access: Access, event: str, topic: str
) -> None:
    witness = await live.viewer(access.sign_in("ana@rally.al"))
    await witness.snapshot(topic)
    await viewer.snapshot(topic)
    await viewer.snapshot(topic)
    assert access.calls_by_kind()["events"] == 3
    access.users["ana@rally.al"].events.discard(event)
    assert (await viewer.ask("subscribe", topic))["code"] == "forbidden"
    platform.database.register(event, "1")
    assert live.app is not None
    await viewer.ask("unsubscribe", NOWHERE)
    assert viewer.positions == []


@pytest.mark.parametrize(
    "message",
    [
        '{"type": "subscribe", "topic": "x", "filter": "y"}',
        '{"type": "subscribe", "topic": 1}',
        '{"type": "subscribe", "topic": null}',
        '{"type": "subscribe"}',
        '{"type": "publish", "topic": "x"}',
        '{"topic": "x"}',
        '{"type": "subscribe", "topic": "x", "id": 5}',
        json.dumps({"type": "subscribe", "topic": "x", "id": "i" * 129}),
        '["subscribe"]',
        '"subscribe"',
        "subscribe",
        "",
        "{",
        "[" * 4_000,
        b'{"type": "subscribe", "topic": "x"}',
    ],
)
async def test_what_is_no_command_is_invalid_and_the_connection_stays(
    viewer: Viewer, access: Access, message: str | bytes
) -> None:
    await (viewer.socket.send_bytes(message) if isinstance(message, bytes) else viewer.socket.send_str(message))
    answered = await viewer.answer()
    assert (answered["type"], answered["code"]) == ("error", "invalid-message")
    assert answered["message"]
    assert (await viewer.ask("unsubscribe", NOWHERE))["type"] == "unsubscribed"
    assert access.calls_by_kind()["events"] == 0


async def test_an_invalid_message_is_answered_with_the_id_and_topic_it_had(viewer: Viewer) -> None:
    refused = await viewer.ask("subscribe", "x", id="7", extra="!")
    assert (refused["id"], refused["topic"], refused["message"]) == ("7", "x", "extra: Unknown field.")


async def test_the_tenth_invalid_message_is_answered_and_closes_with_1008(viewer: Viewer) -> None:
    for _ in range(12):
        await viewer.socket.send_str("?")
    assert [(await viewer.answer())["code"] for _ in range(10)] == ["invalid-message"] * 10
    assert await viewer.close_code() == 1008


async def test_a_message_of_four_kib_is_read_and_a_longer_one_closes_with_1009(viewer: Viewer) -> None:
    longest = json.dumps({"type": "unsubscribe", "topic": ""})
    longest = longest.replace('""', '"' + "x" * (4096 - len(longest)) + '"')
    await viewer.socket.send_str(longest)
    assert (await viewer.answer())["type"] == "unsubscribed"
    await viewer.socket.send_str(longest + " ")
    assert await viewer.close_code() == 1009


async def test_commands_are_answered_in_their_order_while_pings_are_answered_at_once(
    viewer: Viewer, access: Access, topic: str
) -> None:
    let_go = asyncio.Event()
    truth = access.overrides.get("events")
    assert truth is None

    async def slowly(request: web.Request) -> web.StreamResponse:
        await let_go.wait()
        return await answer(403, body=b'{"errors":[{"extensions":{"code":"FORBIDDEN"}}]}')(request)

    access.overrides["events"] = slowly
    await viewer.socket.send_json({"type": "subscribe", "topic": topic, "id": "1"})
    await viewer.socket.send_json({"type": "unsubscribe", "topic": topic, "id": "2"})
    await viewer.socket.send_json({"type": "subscribe", "topic": "?", "id": "3"})
    await viewer.socket.ping(b"alive?")
    let_go.set()
    answers = [await viewer.answer() for _ in range(3)]
    assert [(message["id"], message["type"]) for message in answers] == [
        ("1", "error"), ("2", "unsubscribed"), ("3", "error"),
    ]  # fmt: skip


async def test_too_many_commands_are_refused_and_the_rest_is_answered(viewer: Viewer) -> None:
    for number in range(30):
        await viewer.socket.send_json({"type": "unsubscribe", "topic": NOWHERE, "id": str(number)})
    answers: list[Message] = [await viewer.answer() for _ in range(30)]
    refused = [message for message in answers if message["type"] == "error"]
    done = [int(message["id"]) for message in answers if message["type"] == "unsubscribed"]
    assert {message["code"] for message in refused} == {"rate-limited"}
    assert len(refused) >= 5
    assert done == sorted(done)
    assert {message["id"] for message in answers} == {str(number) for number in range(30)}


async def test_a_connection_follows_only_so_many_topics(platform: Platform, access: Access, event: str) -> None:
    other = platform.database.add_event()
    access.users["ana@rally.al"].events.add(other)
    live = await platform.start(LIVE_WS_MAX_SUBSCRIPTIONS="1")
    viewer = await live.viewer(access.sign_in("ana@rally.al"))
    await viewer.snapshot(f"event:{event}")
    assert (await viewer.ask("subscribe", f"event:{other}"))["code"] == "too-many-subscriptions"
    await viewer.snapshot(f"event:{event}")
    await viewer.ask("unsubscribe", f"event:{event}")
    await viewer.snapshot(f"event:{other}")


async def test_without_an_authorization_plugin_nobody_may_follow_anything(
    platform: Platform, topic: str, cookie: str
) -> None:
    live = await platform.start(LIVE_PLUGINS="auth,routing,snapshot,fanout")
    assert (await (await live.viewer(cookie)).ask("subscribe", topic))["code"] == "forbidden"
