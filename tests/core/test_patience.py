"""Patience lasts as long as was said, or less."""

import asyncio
import math

import pytest

from processor_live.patience import Patience


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_whoever_is_waited_for_longer_than_it_lasts_is_waited_for_no_more() -> None:
    patience = Patience(now() + 0.01)
    assert not patience.over
    with pytest.raises(TimeoutError):
        async with patience.lasting() as waiting:
            await asyncio.Event().wait()
    assert waiting.expired()
    assert patience.over


async def test_it_can_be_shortened_while_it_lasts() -> None:
    patience = Patience(math.inf)
    asyncio.get_running_loop().call_soon(patience.shorten, now())
    with pytest.raises(TimeoutError):
        async with patience.lasting():
            await asyncio.Event().wait()


async def test_it_can_be_shortened_for_the_next_time_and_never_lengthened() -> None:
    patience = Patience(now() + 60)
    patience.shorten(now())
    patience.shorten(now() + 60)
    with pytest.raises(TimeoutError):
        async with patience.lasting():
            await asyncio.Event().wait()


async def test_to_shorten_what_is_just_over_is_no_mistake() -> None:
    """Between the end of the time and the moment when it is felt there is a turn of the loop."""
    patience = Patience(now())

    async def wait() -> None:
        async with patience.lasting():
            asyncio.get_running_loop().call_soon(patience.shorten, now())
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()
    patience.shorten(now())
