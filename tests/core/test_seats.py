"""There are so many seats, so many of them for one user, and each is free again when it is left."""

import asyncio

from processor_live.seats import Seat, Seats


def taken(seats: Seats, user: str | None = None) -> Seat:
    """Return a seat that there must be, for `user` if one is named."""
    seat = seats.take()
    assert seat is not None
    assert user is None or seat.belongs_to(user)
    return seat


def test_seats_are_given_up_to_the_limit_and_again_when_one_is_left() -> None:
    seats = Seats(2, 2)
    taken(seats)
    second = taken(seats)
    assert seats.take() is None
    second.leave()
    taken(seats)
    assert seats.take() is None


def test_a_seat_is_left_once() -> None:
    seats = Seats(2, 1)
    taken(seats, "ana")
    seat = taken(seats, "ben")
    for _ in range(2):
        seat.leave()
    taken(seats, "ben")
    assert seats.take() is None


def test_each_user_has_a_limit_of_their_own() -> None:
    seats = Seats(100, 2)
    first = taken(seats, "ana")
    taken(seats, "ana")
    refused = taken(seats)
    assert not refused.belongs_to("ana")
    taken(seats, "ben")
    refused.leave()
    assert not taken(seats).belongs_to("ana"), "who was refused leaves none of theirs free"
    first.leave()
    taken(seats, "ana")


def test_a_seat_that_was_left_belongs_to_nobody() -> None:
    seats = Seats(1, 1)
    seat = taken(seats)
    seat.leave()
    assert not seat.belongs_to("ana")
    taken(seats, "ana")


def test_users_who_are_gone_are_not_remembered() -> None:
    seats = Seats(10, 10)
    for number in range(100):
        taken(seats, f"user-{number}").leave()
    assert not seats._taken_by


async def test_one_can_wait_until_the_last_seat_is_left() -> None:
    seats = Seats(2, 2)
    await seats.emptied()
    first, second = taken(seats), taken(seats)
    emptied = asyncio.create_task(seats.emptied())
    for seat in (first, second):
        await asyncio.sleep(0)
        assert not emptied.done()
        seat.leave()
    await emptied
