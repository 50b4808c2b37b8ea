"""What does one flush of a topic send?

The same positions in each encoding that a receiver may need, made once at most.
"""

from collections.abc import Sequence
from functools import cached_property

from processor_live.backlog import Newest
from processor_live.deflate import Compressed, DeflateStream
from processor_live.framing import text_frame


class Batch:
    """The `position` messages (JSON) of one flush of `topic`, the numbers above `after`."""

    def __init__(
        self, topic: str, messages: Sequence[bytes], *, after: int, newest: Newest, stream: DeflateStream | None
    ) -> None:
        self.topic = topic
        self.after = after
        self.last = after + len(messages)
        """The number of the last one."""
        self.newest = newest
        """For those who cannot take it now: where they find later what is still news."""
        self.stream = stream
        """What compresses it for those who follow this topic only; None: it goes out plain only."""
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    def tail(self, after: int) -> "Batch":
        """Return what is numbered above `after`, for who has seen the others: plain, as nobody shares it."""
        messages = self._messages[after - self.after :]
        return Batch(self.topic, messages, after=after, newest=self.newest, stream=None)

    @cached_property
    def plain(self) -> bytes:
        """All frames, joined, uncompressed."""
        return b"".join([text_frame(message) for message in self._messages])

    @cached_property
    def steady(self) -> Compressed:
        """All frames, in step with the batches before: for receivers that follow this topic only."""
        assert self.stream is not None  # noqa: S101 - nobody asks for it compressed then
        return self.stream.batch(self._messages)

    @cached_property
    def alone(self) -> bytes:
        """All frames, compressed without regard to any other batch: for receivers that follow several topics."""
        return DeflateStream().batch(self._messages).frames
