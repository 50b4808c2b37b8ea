"""The kernel holds little for a client that does not read, and lets go of it at once."""

import asyncio
import socket

import pytest

from processor_live.kernel import SEND_BUFFER_BYTES, Mark, abort_now, bound_send_buffer, unsent_bytes
from tests.core.pair import Pair
from tests.core.wire import Transport, until


async def test_of_what_is_sent_to_a_client_that_does_not_read_the_kernel_takes_about_128_kb(pair: Pair) -> None:
    bound_send_buffer(pair.transport)
    pair.transport.write(b"x" * 8_000_000)
    for _ in range(100):
        await asyncio.sleep(0)
    taken = 8_000_000 - pair.transport.get_write_buffer_size()
    assert 0 < taken <= 2 * SEND_BUFFER_BYTES + 16_384


async def test_what_nobody_has_acknowledged_is_unsent_wherever_it_waits(pair: Pair) -> None:
    bound_send_buffer(pair.transport)
    assert unsent_bytes(pair.transport) == 0
    pair.transport.write(b"x" * 1_000_000)
    buffered = pair.transport.get_write_buffer_size()
    assert buffered < unsent_bytes(pair.transport) <= 1_000_000
    assert await pair.received(1_000_000) == 1_000_000
    await until(lambda: unsent_bytes(pair.transport) == 0)


async def test_a_mark_is_passed_when_all_that_was_sent_before_it_has_been_acknowledged(
    pair: Pair,
) -> None:
    bound_send_buffer(pair.transport)
    pair.transport.write(b"x" * 500_000)
    mark = Mark(pair.transport)
    pair.transport.write(b"x" * 500_000)
    await pair.received(400_000)
    assert not mark.passed
    await pair.received(100_000)
    await until(lambda: mark.passed)
    assert unsent_bytes(pair.transport) > 300_000
    await pair.received(500_000)
    await until(lambda: unsent_bytes(pair.transport) == 0)
    assert Mark(pair.transport).passed


async def test_aborting_drops_what_is_queued_and_resets_the_connection(pair: Pair) -> None:
    pair.transport.write(b"x" * 1_000_000)
    abort_now(pair.transport)
    await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        await pair.received(1_000_000)


async def test_a_closed_transport_has_only_what_the_process_holds(pair: Pair) -> None:
    pair.transport.close()
    await asyncio.sleep(0)
    assert (unsent_bytes(pair.transport), Mark(pair.transport).taken_bytes) == (0, 0)
    abort_now(pair.transport)


async def test_a_unix_socket_keeps_its_buffer() -> None:
    here, there = socket.socketpair()
    with there:
        before = here.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, here)
        bound_send_buffer(transport)
        assert here.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before
        assert Mark(transport).taken_bytes == 0
        transport.abort()
        await asyncio.sleep(0)


def test_a_transport_without_a_socket_is_fine() -> None:
    transport = Transport()
    transport.stall()
    transport.write(b"x" * 10)
    bound_send_buffer(transport)
    assert unsent_bytes(transport) == 10
    assert not Mark(transport).passed
    abort_now(transport)
    assert transport.aborted
