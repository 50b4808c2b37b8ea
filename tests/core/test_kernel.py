"""The kernel holds little for a client that does not read, and lets go of it at once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from processor_live.kernel import SEND_BUFFER_BYTES, abort_now, bound_send_buffer, unsent_bytes
from tests.core.wire import Transport, until


class Pair(NamedTuple):
    """Two ends of one TCP connection: the server's transport, and the client's socket, which does not block."""

    transport: asyncio.Transport
    client: socket.socket


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A connection over the loopback; the client has little room of its own."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(listener.getsockname())
        client.setblocking(False)
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, listener.accept()[0])
        yield Pair(transport, client)
        transport.abort()
        await asyncio.sleep(0)


async def received(client: socket.socket, size: int) -> int:
    """Read so many bytes, as they come, and return how many there were until the end."""
    total = 0
    while total < size and (data := await asyncio.get_running_loop().sock_recv(client, 65_536)):
        total += len(data)
    return total


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
    assert await received(pair.client, 1_000_000) == 1_000_000
    await until(lambda: unsent_bytes(pair.transport) == 0)


async def test_aborting_drops_what_is_queued_and_resets_the_connection(pair: Pair) -> None:
    pair.transport.write(b"x" * 1_000_000)
    abort_now(pair.transport)
    await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        await received(pair.client, 1_000_000)


async def test_a_closed_transport_has_only_what_the_process_holds(pair: Pair) -> None:
    pair.transport.close()
    await asyncio.sleep(0)
    assert unsent_bytes(pair.transport) == 0
    abort_now(pair.transport)


async def test_a_unix_socket_keeps_its_buffer() -> None:
    here, there = socket.socketpair()
    with there:
        before = here.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, here)
        bound_send_buffer(transport)
        assert here.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before
        transport.abort()
        await asyncio.sleep(0)


def test_a_transport_without_a_socket_is_fine() -> None:
    transport = Transport()
    transport.stall()
    transport.write(b"x" * 10)
    bound_send_buffer(transport)
    assert unsent_bytes(transport) == 10
    abort_now(transport)
    assert transport.aborted
