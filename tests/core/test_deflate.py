"""Can everybody decode what is compressed once for all, whoever joins, leaves, falls behind or follows more?"""

import struct
import zlib
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live.backlog import Newest
from processor_live.batch import Batch
from processor_live.deflate import OUT_OF_STEP, DeflateStream


class Receiver:
    """The decoder of a client: one window for all that it gets (RFC 7692 §7.2.2)."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(-15)
        self.had = OUT_OF_STEP

    def read(self, data: bytes) -> list[bytes]:
        """Return the messages in the frames `data`."""
        messages = []
        while data:
            first, size = data[0], data[1]
            start = {126: 4, 127: 10}.get(size, 2)
            if start > 2:
                (size,) = struct.unpack("!H" if start == 4 else "!Q", data[2:start])
            payload, data = data[start : start + size], data[start + size :]
            messages.append(self._inflate.decompress(payload + b"\0\0\xff\xff") if first & 0x40 else payload)
        return messages


def batch_of(stream: DeflateStream | None, messages: Iterable[bytes]) -> Batch:
    return Batch("event:1", list(messages), after=0, newest=Newest(), stream=stream)


MESSAGES = [b'{"type":"position","topic":"event:1","deviceId":"%d","lat":41.3%d}' % (n % 7, n) for n in range(200)]


def test_batches_in_step_refer_to_each_other_and_are_decoded() -> None:
    stream, receiver = DeflateStream(), Receiver()
    sizes = []
    for start in range(0, 200, 20):
        batch = batch_of(stream, MESSAGES[start : start + 20])
        assert batch.steady.decodable_after(receiver.had)
        assert receiver.read(batch.steady.frames) == MESSAGES[start : start + 20]
        receiver.had = batch.steady.number
        sizes.append(len(batch.steady.frames))
    assert sizes[1] < sizes[0]
    assert sum(sizes) < 0.25 * sum(map(len, MESSAGES))


def test_who_missed_a_batch_is_not_in_step_until_the_stream_restarts() -> None:
    stream = DeflateStream()
    first, second = (batch_of(stream, MESSAGES[:3]).steady for _ in range(2))
    assert first.decodable_after(OUT_OF_STEP)
    assert not second.decodable_after(OUT_OF_STEP)
    assert second.decodable_after(first.number)
    stream.restart()
    third = batch_of(stream, MESSAGES[:3]).steady
    assert third.decodable_after(OUT_OF_STEP)
    assert third.decodable_after(second.number)


def test_a_batch_compressed_alone_is_decodable_between_any_others() -> None:
    here, there, receiver = DeflateStream(), DeflateStream(), Receiver()
    for start in range(0, 60, 10):
        for stream in (here, there):
            batch = batch_of(stream, MESSAGES[start : start + 10])
            assert receiver.read(batch.alone) == MESSAGES[start : start + 10]


def test_a_batch_is_encoded_once_however_many_receive_it() -> None:
    batch = batch_of(DeflateStream(), MESSAGES)
    assert batch.steady is batch.steady
    assert batch.alone is batch.alone
    assert batch.plain is batch.plain


def test_long_messages_are_framed_too() -> None:
    messages = [b"x" * 125, b"y" * 126, b"z" * 70_000, bytes(range(256)) * 300]
    batch = batch_of(DeflateStream(), messages)
    assert Receiver().read(batch.plain) == messages
    assert Receiver().read(batch.steady.frames) == messages


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 6), st.sets(st.integers(0, 3)), st.booleans()), max_size=30))
def test_whoever_is_said_to_be_in_step_decodes_every_batch(
    steps: list[tuple[int, set[int], bool]],
) -> None:
    """Each step is a batch of some messages that some receivers miss; a restart may follow, as when one comes back."""
    stream = DeflateStream()
    receivers = [Receiver() for _ in range(4)]
    for number, (length, missing, restarted) in enumerate(steps):
        messages = MESSAGES[number : number + length]
        batch = batch_of(stream, messages)
        for index, receiver in enumerate(receivers):
            if index not in missing and batch.steady.decodable_after(receiver.had):
                assert receiver.read(batch.steady.frames) == messages
                receiver.had = batch.steady.number
        if restarted:
            stream.restart()
