"""A client is given up only when it has had the time to answer, however slowly it reads what came before the ping."""

import asyncio

from processor_live.framing import ping_frame
from processor_live.kernel import bound_send_buffer, unsent_bytes
from processor_live.ping import LOOKS, Ping
from tests.core.pair import Pair
from tests.core.wire import Transport, until

SENT_BYTES, SIP_BYTES = 100_000, 500


def send_ping(transport: asyncio.Transport) -> Ping:
    """Send a ping behind all that has been sent."""
    transport.write(ping_frame())
    return Ping(transport)


def looks(ping: Ping) -> int:
    """Return how many looks it takes until it is in vain."""
    return next(number for number in range(1, 10 * LOOKS) if ping.in_vain())


async def take_some(pair: Pair) -> int:
    """Let the client read until its kernel has taken something, and return how much it has read."""
    before, read = unsent_bytes(pair.transport), 0
    while unsent_bytes(pair.transport) >= before:
        read += await pair.received(SIP_BYTES)
        await asyncio.sleep(0)
    return read


async def test_as_long_as_what_was_sent_before_it_is_being_taken_a_ping_is_not_in_vain(pair: Pair) -> None:
    bound_send_buffer(pair.transport)
    pair.transport.write(b"x" * SENT_BYTES)
    ping = send_ping(pair.transport)
    read = 0
    for _ in range(3 * LOOKS):
        read += await take_some(pair)
        assert not ping.in_vain()
    assert read < SENT_BYTES


async def test_whoever_has_taken_the_ping_has_only_so_long_to_answer_whatever_follows_it(pair: Pair) -> None:
    bound_send_buffer(pair.transport)
    pair.transport.write(b"x" * SENT_BYTES)
    ping = send_ping(pair.transport)
    pair.transport.write(b"x" * SENT_BYTES)
    await pair.received(SENT_BYTES + len(ping_frame()))
    await until(lambda: ping._mark.passed)
    for _ in range(LOOKS - 1):
        assert not ping.in_vain()
        await take_some(pair)
    assert ping.in_vain()


async def test_who_takes_nothing_is_given_up_with_the_ping_still_under_way(pair: Pair) -> None:
    bound_send_buffer(pair.transport)
    pair.transport.write(b"x" * SENT_BYTES)
    ping = send_ping(pair.transport)
    assert LOOKS <= looks(ping) < 2 * LOOKS, "the client's kernel may still be filling up"
    assert unsent_bytes(pair.transport) > SENT_BYTES / 2


async def test_where_the_system_does_not_tell_it_is_as_if_the_ping_had_been_taken() -> None:
    transport = Transport()
    transport.stall()
    transport.write(b"x")
    ping = send_ping(transport)
    transport.read(1)
    assert looks(ping) == LOOKS
