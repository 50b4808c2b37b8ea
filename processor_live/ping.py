"""Has a client had the time to answer a ping?

A ping is the last in the queue: whoever reads slowly sees it when all that was sent before has been read, which takes a
client with 4 KB/s half a minute.
"""

import asyncio

from processor_live.kernel import Mark

LOOKS = 5
"""At a ping without an answer, until the client is given up. They are counted, and no clock is read: a standstill of
this process, or of the machine, takes one of them, and who could not be heard meanwhile still has the others."""


class Ping:
    """A ping that was the last thing sent, and has not been answered."""

    __slots__ = ("_looks", "_mark", "_taken_bytes")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._mark = Mark(transport)
        self._taken_bytes = self._mark.taken_bytes
        self._looks = LOOKS
        """How many are left."""

    def in_vain(self) -> bool:
        """Look once more, and return whether that was the last time: nobody answers.

        As long as the client goes on taking what came before the ping, they are not counted. Who takes nothing of it is
        not there, or does not read.
        """
        taken_bytes = self._mark.taken_bytes
        is_on_its_way = self._taken_bytes < taken_bytes and not self._mark.passed
        self._taken_bytes = taken_bytes
        self._looks = LOOKS if is_on_its_way else self._looks - 1
        return self._looks <= 0
