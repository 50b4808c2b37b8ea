"""The live port is one service's alone, and all of that service's workers'."""

import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import pytest

from processor_live.failure import StartError
from processor_live.listening import alone, reserved, shared
from processor_live.settings import Settings, load
from processor_live_demo.embedded import free_port

WORKERS = 2
Way = Callable[[Settings], socket.socket]


@pytest.fixture(params=["127.0.0.1", "::1"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """The settings of services that are started on the same free port."""
    return load(Settings, {"LIVE_WS_HOST": request.param, "LIVE_WS_PORT": str(free_port())})


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """Closes, when the test is over, what has been entered."""
    with ExitStack() as stack:
        yield stack


def is_refused(way: Way, settings: Settings) -> None:
    """See that somebody who starts in that way is told that the port is busy."""
    with pytest.raises(StartError) as caught:
        way(settings).close()
    line = f"processor-live: cannot listen on LIVE_WS_HOST '{settings.ws_host}', LIVE_WS_PORT {settings.ws_port}: "
    assert str(caught.value) == f"{line}Address already in use"


def work(settings: Settings, sockets: ExitStack) -> list[socket.socket]:
    """Let the workers listen."""
    workers = [sockets.enter_context(shared(settings)) for _ in range(WORKERS)]
    for worker in workers:
        worker.listen()
    return workers


def test_who_listens_alone_keeps_out_everybody(settings: Settings, sockets: ExitStack) -> None:
    sockets.enter_context(alone(settings))
    is_refused(alone, settings)
    is_refused(reserved, settings)
    is_refused(shared, settings)


def test_whose_workers_share_the_port_keeps_out_everybody_else(settings: Settings, sockets: ExitStack) -> None:
    sockets.enter_context(reserved(settings))
    work(settings, sockets)
    is_refused(alone, settings)
    is_refused(reserved, settings)


def test_before_the_first_worker_comes_and_when_all_have_died_the_port_is_kept_for_them(
    settings: Settings, sockets: ExitStack
) -> None:
    sockets.enter_context(reserved(settings))
    for _ in range(2):
        is_refused(alone, settings)
        is_refused(reserved, settings)
        for worker in work(settings, sockets):
            worker.close()


def test_of_two_who_start_in_the_same_moment_one_gets_the_port(settings: Settings) -> None:
    for one in (reserved, alone):
        together = Barrier(2)

        def start(way: Way, together: Barrier = together) -> socket.socket | None:
            together.wait()
            try:
                return way(settings)
            except StartError:
                return None

        with ThreadPoolExecutor() as pool:
            for _ in range(200):
                got = [sock for sock in pool.map(start, (one, reserved)) if sock]
                assert len(got) == 1
                got[0].close()


def test_all_connections_are_the_workers(settings: Settings, sockets: ExitStack) -> None:
    sockets.enter_context(reserved(settings))
    workers = work(settings, sockets)
    for _ in range(50):
        with socket.create_connection((settings.ws_host, settings.ws_port)):
            ready, _, _ = select.select(workers, [], [], 0)
            assert len(ready) == 1
            ready[0].accept()[0].close()


@pytest.mark.parametrize("way", [alone, reserved])
def test_a_port_whose_last_connections_have_not_faded_yet_can_be_had_again(
    settings: Settings, sockets: ExitStack, way: Way
) -> None:
    with reserved(settings), ExitStack() as first:
        (worker, _) = work(settings, first)
        while True:
            client = sockets.enter_context(socket.create_connection((settings.ws_host, settings.ws_port)))
            if select.select([worker], [], [], 0)[0]:
                break
        worker.accept()[0].close()  # the server first: its end of the connection is what lingers
        assert client.recv(1) == b""
        client.close()
    sockets.enter_context(way(settings))


def test_the_kernel_may_choose_the_port(sockets: ExitStack) -> None:
    settings = load(Settings, {"LIVE_WS_HOST": "127.0.0.1", "LIVE_WS_PORT": "0"})
    ports = [sockets.enter_context(way(settings)).getsockname()[1] for way in (alone, reserved, reserved)]
    assert len(set(ports)) == 3
    for port in ports:
        chosen = load(Settings, {"LIVE_WS_HOST": "127.0.0.1", "LIVE_WS_PORT": str(port)})
        is_refused(alone, chosen)
        is_refused(reserved, chosen)
