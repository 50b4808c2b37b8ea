"""There are so many seats, so many of them for one user, and each is free again however it is left."""

from contextlib import ExitStack

import pytest

from processor_live.seats import Seats


def test_seats_are_given_up_to_the_limit_and_again_when_one_is_left() -> None:
    seats = Seats(2, 2)
    with seats.one() as first:
        with seats.one() as second, seats.one() as third:
            assert (first, second, third) == (True, True, False)
        with seats.one() as again:
            assert again


def test_who_got_no_seat_leaves_none_free() -> None:
    seats = Seats(1, 1)
    with seats.one():
        for _ in range(2):
            with seats.one() as seated:
                assert not seated


def test_each_user_has_a_limit_of_their_own() -> None:
    seats = Seats(100, 2)
    with ExitStack() as taken:
        ana = [taken.enter_context(seats.one_for("ana")) for _ in range(3)]
        ben = [taken.enter_context(seats.one_for("ben")) for _ in range(2)]
        assert ana == [True, True, False]
        assert ben == [True, True]
    with seats.one_for("ana") as seated:
        assert seated


def test_a_seat_is_free_again_after_an_error() -> None:
    seats = Seats(1, 1)
    with pytest.raises(ConnectionError), seats.one(), seats.one_for("ana"):
        raise ConnectionError
    with seats.one() as seated, seats.one_for("ana") as seated_too:
        assert seated
        assert seated_too


def test_users_who_are_gone_are_not_remembered() -> None:
    seats = Seats(10, 10)
    for number in range(100):
        with seats.one_for(f"user-{number}"):
            pass
    assert not seats._taken_by
