"""What has a client that fell behind missed of a topic, and which of it is still news?

The messages of a topic are numbered. A client that is behind costs nothing per position: it remembers between which
numbers it was not served, and when it reads again it gets those among them that nothing newer has replaced (G4).
"""

from processor_live.framing import text_frame


class Newest:
    """The newest message of each device of a topic, shared by all who are behind."""

    __slots__ = ("_messages", "published")

    def __init__(self) -> None:
        self._messages: dict[str, tuple[int, bytes]] = {}
        """By device, in the order of their numbers."""
        self.published = 0
        """Messages ever added; the number of the last one."""

    def add(self, device_id: str, message: bytes) -> None:
        """Put the next message in the place of the device's last one."""
        self.published += 1
        self._messages.pop(device_id, None)
        self._messages[device_id] = self.published, message

    def between(self, after: int, last: int) -> list[tuple[int, bytes]]:
        """Return those numbered above `after`, up to `last`, in order; what is newer is yet to be sent."""
        found = []
        for number, message in reversed(self._messages.values()):
            if number <= after:
                break
            if number <= last:
                found.append((number, message))
        found.reverse()
        return found


class Backlog:
    """The messages of one topic that one client was not served: those above `after`, up to `last`."""

    __slots__ = ("_after", "_newest", "last")

    def __init__(self, newest: Newest, after: int, last: int) -> None:
        self._newest = newest
        self._after = after
        self.last = last

    def take(self, room: int) -> tuple[list[bytes], int]:
        """Return the frames of what is still news, as many as begin within `room` bytes, and how many were replaced."""
        frames: list[bytes] = []
        replaced = 0
        for number, message in self._newest.between(self._after, self.last):
            if room <= 0:
                return frames, replaced
            frame = text_frame(message)
            room -= len(frame)
            frames.append(frame)
            replaced += number - self._after - 1
            self._after = number
        replaced += self.last - self._after
        self._after = self.last
        return frames, replaced

    @property
    def empty(self) -> bool:
        """Whether all has been taken or replaced."""
        return self._after == self.last
