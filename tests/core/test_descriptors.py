"""There is room for as many connections as the system lets the process have open files, less those it needs itself."""

import resource
from collections.abc import Callable, Iterator
from resource import RLIM_INFINITY, RLIMIT_NOFILE

import pytest

from processor_live.descriptors import HEADROOM, OWN_FILES, Headroom, room_for


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Set how many files this process may open, until the test is over."""
    before = resource.getrlimit(RLIMIT_NOFILE)
    yield lambda files: resource.setrlimit(RLIMIT_NOFILE, (files, before[1]))
    resource.setrlimit(RLIMIT_NOFILE, before)


def test_the_limit_is_raised_as_far_as_the_connections_need_it_and_never_lowered(limit: Callable[[int], None]) -> None:
    limit(300)
    assert room_for(100) == 100
    assert resource.getrlimit(RLIMIT_NOFILE)[0] == 300
    assert room_for(400) == 400
    assert resource.getrlimit(RLIMIT_NOFILE)[0] == 400 + OWN_FILES


@pytest.mark.parametrize(
    ("limits", "room", "left"),
    [
        ((300, 500), 500 - HEADROOM - OWN_FILES, (500 - HEADROOM, 500)),
        ((500, 500), 500 - HEADROOM - OWN_FILES, (500 - HEADROOM, 500)),
        ((300, RLIM_INFINITY), 1_000, (1_000 + OWN_FILES, RLIM_INFINITY)),
        ((RLIM_INFINITY, RLIM_INFINITY), 1_000, (RLIM_INFINITY, RLIM_INFINITY)),
        ((64, 64), 1, (64 - HEADROOM, 64)),
    ],
)
def test_what_the_system_allows_bounds_the_room(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], room: int, left: tuple[int, int]
) -> None:
    """A hard limit that is lowered stays lowered, hence no real one."""
    known = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: known[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: known.append(pair))
    assert room_for(1_000) == room
    assert known[-1] == left


def test_where_the_limit_cannot_be_raised_there_is_room_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (300, RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert room_for(1_000) == 300 - OWN_FILES


def test_the_headroom_is_open_until_it_is_closed_however_often_it_was_opened(limit: Callable[[int], None]) -> None:
    limit(300)
    headroom = Headroom()
    for _ in range(2):
        headroom.open()
        assert resource.getrlimit(RLIMIT_NOFILE)[0] == 300 + HEADROOM
    for _ in range(2):
        headroom.close()
        assert resource.getrlimit(RLIMIT_NOFILE)[0] == 300


def test_the_headroom_ends_where_the_system_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [(300, 305)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: known[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: known.append(pair))
    headroom = Headroom()
    headroom.open()
    headroom.close()
    assert known == [(300, 305), (305, 305), (300, 305)]
