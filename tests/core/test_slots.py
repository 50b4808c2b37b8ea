"""A question has one answer: the safe one, until exactly one plugin gives another."""

import pytest
from aiohttp import web

from processor_live.protocol import Verdict
from processor_live.slots import AUTHORIZE, ROUTE, SNAPSHOT, Slot, SlotTakenError, add_slots
from tests.core.wire import Client


async def test_until_filled_everybody_is_forbidden_nothing_stored_and_no_device_anywhere() -> None:
    app = web.Application()
    add_slots(app)
    assert await app[AUTHORIZE].answer(Client().connection, "event:1") is Verdict.FORBIDDEN
    assert list(await app[SNAPSHOT].answer("event:1")) == []
    assert list(app[ROUTE].answer("d1")) == []


def test_the_answer_is_whoever_filled_the_slot() -> None:
    slot = Slot("SLOT", lambda: "default")
    slot.fill(lambda: "filled")
    assert slot.answer() == "filled"


def test_filling_a_slot_twice_raises_and_changes_nothing() -> None:
    slot = Slot("SLOT", lambda: "default")
    slot.fill(lambda: "first")
    with pytest.raises(SlotTakenError, match=r"\ASLOT\Z"):
        slot.fill(lambda: "second")
    assert slot.answer() == "first"


def test_every_application_has_slots_of_its_own() -> None:
    one, other = web.Application(), web.Application()
    add_slots(one)
    add_slots(other)
    one[ROUTE].fill(lambda _: ("event:1",))
    assert not other[ROUTE].filled
