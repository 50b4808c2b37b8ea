"""Those who ask the same thing at the same moment share one call, and none of them can spoil it for the others."""

import asyncio
import gc

import pytest

from processor_live.flight import SingleFlight


class Oracle:
    """A call that answers when the test lets it."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        call = self.calls
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return call


async def test_those_who_ask_at_the_same_moment_share_one_call() -> None:
    flights, oracle = SingleFlight[str, int](), Oracle()
    askers = [asyncio.create_task(flights.ask("cookie", oracle)) for _ in range(3)]
    await oracle.begun.wait()
    oracle.gate.set()
    assert await asyncio.gather(*askers) == [1, 1, 1]


async def test_different_questions_are_different_calls() -> None:
    flights, oracle = SingleFlight[str, int](), Oracle()
    oracle.gate.set()
    assert await asyncio.gather(*[flights.ask(key, oracle) for key in ("ana", "ben")]) == [1, 2]


async def test_nothing_is_kept_beyond_the_call() -> None:
    flights, oracle = SingleFlight[str, int](), Oracle()
    oracle.gate.set()
    first = await flights.ask("cookie", oracle)
    await asyncio.sleep(0)
    assert (first, await flights.ask("cookie", oracle)) == (1, 2)


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    flights, oracle = SingleFlight[str, int](), Oracle()
    oracle.error = TimeoutError("no answer")
    askers = [asyncio.create_task(flights.ask("cookie", oracle)) for _ in range(2)]
    await oracle.begun.wait()
    oracle.gate.set()
    for asker in askers:
        with pytest.raises(TimeoutError, match="no answer"):
            await asker
    oracle.error = None
    assert await flights.ask("cookie", oracle) == 2


async def test_who_is_cancelled_leaves_alone() -> None:
    flights, oracle = SingleFlight[str, int](), Oracle()
    leaver, stayer = (asyncio.create_task(flights.ask("cookie", oracle)) for _ in range(2))
    await oracle.begun.wait()
    leaver.cancel()
    await asyncio.wait([leaver])
    oracle.gate.set()
    assert leaver.cancelled()
    assert await stayer == 1


async def test_a_failure_nobody_waits_for_any_more_disturbs_nobody() -> None:
    flights, oracle = SingleFlight[str, int](), Oracle()
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    oracle.error = TimeoutError()
    asker = asyncio.create_task(flights.ask("cookie", oracle))
    await oracle.begun.wait()
    asker.cancel()
    await asyncio.wait([asker])
    oracle.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert complaints == []
    oracle.error = None
    assert await flights.ask("cookie", oracle) == 2


async def test_spaced_calls_for_the_same_thing_begin_no_sooner_and_all_who_wait_share_the_next() -> None:
    flights, oracle, clock = SingleFlight[str, int](0.1), Oracle(), asyncio.get_running_loop().time
    oracle.gate.set()
    began = clock()
    assert await flights.ask("event", oracle) == 1
    assert await asyncio.gather(*[flights.ask("event", oracle) for _ in range(3)]) == [2, 2, 2]
    assert clock() - began >= 0.1
    assert await flights.ask("event", oracle) == 3
    assert clock() - began >= 0.2


async def test_spacing_holds_nobody_up_who_asks_for_something_else_or_asks_late() -> None:
    flights, oracle, clock = SingleFlight[str, int](0.05), Oracle(), asyncio.get_running_loop().time
    oracle.gate.set()
    await flights.ask("event", oracle)
    await asyncio.sleep(0.1)  # the spacing is over
    asked = clock()
    await asyncio.gather(flights.ask("event", oracle), flights.ask("another", oracle))
    assert clock() - asked < 0.05
