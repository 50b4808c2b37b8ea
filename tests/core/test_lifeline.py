"""Who watches over a worker hears that it lives, and that it does not any more."""

import asyncio
from collections.abc import Iterator

import pytest

from processor_live import lifeline
from processor_live.lifeline import Lifeline
from tests.running import until


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lifeline]:
    """A lifeline on which time passes quickly."""
    monkeypatch.setattr(lifeline, "BEAT_SECONDS", 0.001)
    with Lifeline() as line:
        yield line


async def test_a_worker_that_has_not_said_anything_yet_is_starting(line: Lifeline) -> None:
    silence = asyncio.create_task(line.falls_silent())
    await asyncio.sleep(0.1)
    assert not silence.done()
    line.workers_end.send(b".")
    await until(silence.done)


async def test_a_worker_that_goes_on_speaking_is_not_silent(line: Lifeline) -> None:
    silence = asyncio.create_task(line.falls_silent())
    for _ in range(100):
        line.workers_end.send(b".")
        await asyncio.sleep(0.001)
    assert not silence.done()
    await until(silence.done)


async def test_a_worker_whose_end_is_closed_is_silent(line: Lifeline) -> None:
    line.workers_end.send(b".")
    line.workers_end.close()
    await asyncio.wait_for(line.falls_silent(), 10)
