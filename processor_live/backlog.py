"""What has a client that fell behind missed of a topic, and which of it is still news?

The messages of a topic are numbered. A client that is behind costs nothing per position: it remembers between which
numbers it was not served, and when it reads again it gets those among them that nothing newer has replaced (G4). What
there is no room for waits by device, first come, first served, and it is the newest of each that is served in the end.
"""

from collections.abc import Sequence
from itertools import chain

from processor_live.framing import text_frame


class Newest:
    """The newest message of each device of a topic, shared by all who are behind."""

    __slots__ = ("messages", "published")

    def __init__(self) -> None:
        self.messages: dict[str, tuple[int, bytes]] = {}
        """By device, each with its number, in the order of those."""
        self.published = 0
        """Messages ever added; the number of the last one."""

    def add(self, device_id: str, message: bytes) -> None:
        """Put the next message in the place of the device's last one."""
        self.published += 1
        self.messages.pop(device_id, None)
        self.messages[device_id] = self.published, message

    def between(self, after: int, last: int) -> list[str]:
        """Return the devices of those numbered above `after`, up to `last`, in order; newer ones are yet to be sent."""
        found = []
        for device_id, (number, _) in reversed(self.messages.items()):
            if number <= after:
                break
            if number <= last:
                found.append(device_id)
        found.reverse()
        return found


class Backlog:
    """The messages of one topic that one client was not served."""

    __slots__ = ("_after", "_newest", "_waiting", "last")

    def __init__(self, newest: Newest, after: int, last: int) -> None:
        self._newest = newest
        self._waiting: Sequence[str] = ()
        """The devices that there was no room for, in the order in which they are to be served."""
        self._after = after
        """Every message up to this number was served, has been replaced, or is one of a waiting device."""
        self.last = last
        """The number of the last one that it was not served."""

    def take(self, room: int) -> tuple[list[bytes], int]:
        """Return the frames of what is still news, as many as begin within `room` bytes, and how many were replaced."""
        devices = [*dict.fromkeys(chain(self._waiting, self._newest.between(self._after, self.last)))]
        frames: list[bytes] = []
        messages, served = self._newest.messages, 0
        while room > 0 and served < len(devices):
            number, message = messages[devices[served]]
            served += 1
            if number <= self.last:  # else what has replaced it is yet to be sent
                frame = text_frame(message)
                room -= len(frame)
                frames.append(frame)
        missed = len(self._waiting) + self.last - self._after
        self._waiting, self._after = devices[served:], self.last
        return frames, missed - len(frames) - len(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether all has been taken or replaced."""
        return self._after == self.last and not self._waiting
