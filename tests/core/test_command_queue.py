"""Commands are answered one after another, in their order, and no client can send more than its share."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from aiosignal import Signal

from processor_live import protocol
from processor_live.command_queue import MAX_VIOLATIONS, MAX_WAITING, PATIENCE_SECONDS, CommandQueue
from processor_live.connection import Connection
from processor_live.patience import Patience
from processor_live.protocol import Command, Disconnect
from processor_live.signals import tell
from tests.core.wire import Client, metric, until


class Clock:
    """The event loop's clock, in the hands of a test."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


BUGS = {"error": RuntimeError("a bug of the server"), "cancelled": asyncio.CancelledError()}
"""The topics at which the server fails, and how; nobody has cancelled anything."""


class Server:
    """A queue whose commands take until the test lets them through."""

    def __init__(self, per_second: int = 1000) -> None:
        self.client = Client()
        self.begun: list[str] = []
        self.by: list[float] = []
        """When the client would give up each of these."""
        self.after: Callable[[Connection], None] = lambda _: None
        """What happens after an answer."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.queue = CommandQueue(self.client.connection, self._execute, per_second)

    async def _execute(self, connection: Connection, command: Command, patience: Patience) -> None:
        self.begun.append(command.topic)
        self.by.append(patience.until)
        if command.topic in BUGS:
            raise BUGS[command.topic]
        await self.gate.wait()
        connection.send(protocol.unsubscribed(command))
        self.after(connection)

    def say(self, *topics: str) -> None:
        for topic in topics:
            self.queue.put(json.dumps({"type": "unsubscribe", "topic": topic}))

    async def answers(self, count: int) -> list[str]:
        """Return code or topic of the answers, once there are so many."""
        await until(lambda: len(self.client.messages) >= count)
        return [message.get("code") or message["topic"] for message in self.client.messages]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A queue without commands."""
    server = Server()
    yield server
    await server.queue.close()


async def test_commands_are_carried_out_one_after_another(server: Server) -> None:
    server.gate.clear()
    server.say("1", "2", "3")
    await until(lambda: server.begun == ["1"])
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.begun == ["1"]
    server.gate.set()
    assert await server.answers(3) == ["1", "2", "3"]
    server.say("4")
    assert await server.answers(4) == ["1", "2", "3", "4"]


async def test_patience_begins_when_a_command_comes_not_when_its_turn_does(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time())
    monkeypatch.setattr(loop, "time", clock.time)
    came = clock.now
    server.gate.clear()
    server.say("1", "2")
    await until(lambda: server.begun == ["1"])
    clock.now += 3
    server.gate.set()
    await server.answers(2)
    assert server.by == [came + PATIENCE_SECONDS] * 2
    assert PATIENCE_SECONDS < 5, "which is the browser's"


async def test_an_invalid_message_is_answered_in_its_turn(server: Server) -> None:
    before = metric("live_commands_total", answer="invalid-message")
    server.say("1")
    server.queue.put(b"\x00")
    server.say("2")
    assert await server.answers(3) == ["1", "invalid-message", "2"]
    assert metric("live_commands_total", answer="invalid-message") - before == 1


async def test_over_sixteen_that_wait_the_next_are_refused_at_once_and_the_others_stay(server: Server) -> None:
    before = metric("live_commands_total", answer="rate-limited")
    server.gate.clear()
    server.say("first")
    await until(lambda: server.begun == ["first"])
    waiting = [str(number) for number in range(MAX_WAITING)]
    server.say(*waiting, "too many")
    assert [message["code"] for message in server.client.messages] == ["rate-limited"]
    assert server.client.messages[0]["topic"] == "too many"
    assert metric("live_commands_total", answer="rate-limited") - before == 1
    server.gate.set()
    assert await server.answers(18) == ["rate-limited", "first", *waiting]
    server.say("later")
    assert (await server.answers(19))[-1] == "later"


async def test_twice_the_rate_may_come_at_once_and_then_as_many_as_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time())
    monkeypatch.setattr(loop, "time", clock.time)
    server = Server(per_second=3)

    async def accepted(count: int) -> int:
        before = len(server.client.messages)
        server.say(*["x"] * count)
        return (await server.answers(before + count))[before:].count("x")

    assert await accepted(8) == 6
    assert await accepted(1) == 0
    clock.now += 0.34
    assert await accepted(3) == 1
    clock.now += 0.2
    assert await accepted(1) == 0, "half a command's time"
    clock.now += 3_600
    assert await accepted(8) == 6, "what is not used is not saved up"


async def test_the_tenth_invalid_message_is_answered_and_ends_the_connection(server: Server) -> None:
    for number in range(1, MAX_VIOLATIONS):
        server.queue.put("?")
        server.say("fine")
        await server.answers(2 * number)
    assert server.client.connection.closing is None
    server.queue.put("?")
    server.say("ignored")
    server.queue.put("?")
    answers = await server.answers(2 * MAX_VIOLATIONS - 1)
    await until(lambda: server.client.connection.closing is not None)
    assert answers == ["invalid-message", "fine"] * (MAX_VIOLATIONS - 1) + ["invalid-message"]
    assert await server.client.goodbye() == 1008


async def test_what_is_asked_before_the_tenth_invalid_message_is_answered_first(server: Server) -> None:
    server.gate.clear()
    server.say("slow")
    for _ in range(MAX_VIOLATIONS):
        server.queue.put("?")
    await until(lambda: server.begun == ["slow"])
    assert server.client.connection.closing is None
    server.gate.set()
    assert await server.answers(11) == ["slow"] + ["invalid-message"] * 10
    await until(lambda: server.client.connection.closing is not None)


@pytest.mark.parametrize("bug", BUGS)
async def test_a_bug_ends_the_connection_with_1011_and_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture, bug: str
) -> None:
    server.say(bug, "after")
    await until(lambda: server.client.connection.closing is not None)
    assert await server.client.goodbye() == 1011
    assert server.begun == [bug]
    (record,) = caplog.records
    assert record.message == "command.failed"
    assert record.exc_info is not None


async def test_nothing_is_begun_once_the_connection_says_goodbye(server: Server) -> None:
    server.gate.clear()
    server.say("1", "2")
    await until(lambda: server.begun == ["1"])
    server.client.connection.close(Disconnect.RESTART)
    server.gate.set()
    server.say("3")
    await until(lambda: server.client.connection.closing is not None)
    server.say("4")
    await asyncio.sleep(0)
    assert server.begun == ["1"]


async def test_closing_stops_the_command_under_way_and_forgets_the_rest(server: Server) -> None:
    server.gate.clear()
    server.say("1", "2")
    await until(lambda: server.begun == ["1"])
    await server.queue.close()
    server.gate.set()
    await asyncio.sleep(0)
    assert server.begun == ["1"]
    assert server.client.messages == []


async def test_closing_an_idle_queue_and_one_whose_work_has_not_begun_is_fine(server: Server) -> None:
    await server.queue.close()
    server.say("1")
    await server.queue.close()
    assert server.begun == []


async def test_what_has_come_before_the_end_is_answered_in_its_order_and_then_it_is_closed_with_1012(
    server: Server,
) -> None:
    server.gate.clear()
    server.say("1", "2")
    server.queue.put("?")
    await until(lambda: server.begun == ["1"])
    by = asyncio.get_running_loop().time() + 1
    server.queue.finish(by)
    server.say("too late")
    assert server.client.connection.closing is None
    server.gate.set()
    assert await server.answers(3) == ["1", "2", "invalid-message"]
    await until(lambda: server.client.connection.closing is not None)
    assert await server.client.goodbye() == 1012
    assert server.begun == ["1", "2"]
    assert server.by[1] == by, "the client waited longer, but there is no more time than that"


@pytest.fixture
async def gate(server: Server) -> asyncio.Event:
    """What every command of the server has a plugin be told that it has to wait for."""
    gate, signal = asyncio.Event(), Signal[Connection](server)

    async def receiver(_: Connection) -> None:
        await gate.wait()

    signal.append(receiver)
    signal.freeze()
    server.after = lambda connection: tell(signal, connection)
    return gate


async def test_while_plugins_are_told_of_a_command_further_ones_wait(server: Server, gate: asyncio.Event) -> None:
    server.say("1", "2")
    assert await server.answers(1) == ["1"]
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.begun == ["1"]
    gate.set()
    assert await server.answers(2) == ["1", "2"]


async def test_at_the_end_no_answer_waits_for_plugins(server: Server, gate: asyncio.Event) -> None:
    server.say("1", "2")
    await server.answers(1)
    server.queue.finish(asyncio.get_running_loop().time())
    assert await server.answers(2) == ["1", "2"]
    await until(lambda: server.client.connection.closing is Disconnect.RESTART)
    assert not gate.is_set()


async def test_an_idle_queue_is_closed_with_1012_at_once(server: Server) -> None:
    server.queue.finish(asyncio.get_running_loop().time() + 1)
    assert server.client.connection.closing is Disconnect.RESTART
