"""How is one compressed stream shared by all receivers of a topic? (RFC 7692, without I/O)

permessage-deflate lets each message refer to those before it, as far back as a window reaches. So a receiver can decode
a batch only if it has the one before, and nothing compressed in between; frames without RSV1 are legal and do not
enter its window. A batch is compressed once, however many receive it; whoever is not in step gets it plain, and the
next batch refers to nothing before it, so that everybody can follow from there.
"""

import itertools
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from processor_live.framing import deflated_frame

WINDOW_BITS = 15
"""A window of 32 KiB, the largest there is: 0.16 of the bytes, where 4 KiB give 0.18 (docs/performance.md)."""
_LEVEL = 6
_MEMORY_LEVEL = 5
"""144 KB a topic, as good and as fast as the default's 256."""
_TAIL = 4
"""Bytes of the `00 00 ff ff` that ends a sync flush and is not sent (RFC 7692 §7.2.1)."""

OUT_OF_STEP = -1
"""The number of no batch: what a receiver that has missed something had last."""
_NOTHING = 0
_numbers = itertools.count(1)


class Compressed(NamedTuple):
    """The frames of a batch, joined."""

    frames: bytes
    number: int
    """Names this batch among all of the process."""
    follows: int
    """The batch that a receiver must have had last."""

    def decodable_after(self, number: int) -> bool:
        """Return whether a receiver that had the batch `number` last can decode this one."""
        return self.follows in {_NOTHING, number}


class DeflateStream:
    """The compressor of a topic."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Let the next batch refer to nothing before it."""
        self._last = _NOTHING

    def batch(self, payloads: Iterable[bytes]) -> Compressed:
        """Compress the messages of a batch."""
        follows = self._last
        if follows == _NOTHING:
            self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)
        self._last = next(_numbers)
        return Compressed(b"".join([self._frame(payload) for payload in payloads]), self._last, follows)

    def _frame(self, payload: bytes) -> bytes:
        compressed = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return deflated_frame(compressed[:-_TAIL])
