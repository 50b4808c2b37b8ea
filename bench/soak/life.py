"""Did a process of the service grow while it lived?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

SHORTEST_SECONDS = 300.0
"""Below that a life says nothing."""
MORE_BYTES = 2_000_000
MORE_DESCRIPTORS = 2


@dataclass(frozen=True)
class Sample:
    """One look at a process."""

    at_s: float
    """Since the soak began."""
    memory_bytes: int
    descriptors: int
    """Connections of viewers and to Directus not counted: they come and go, the latter up to a limit."""


@dataclass
class Life:
    """A process of the service, from its start to its end, and how it was looked at meanwhile."""

    instance: str
    number: int
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it was looked at."""
        return self.samples[-1].at_s - self.samples[0].at_s if self.samples else 0.0

    def growth(self) -> tuple[float, float] | None:
        """Return by how many bytes and descriptors the last quarter of its life is above the second, in medians.

        The first is not counted: tables fill and pools open. None when it was too short to tell.
        """
        if self.seconds < SHORTEST_SECONDS:
            return None
        second, last = self._quarter(1), self._quarter(3)
        return (
            median(sample.memory_bytes for sample in last) - median(sample.memory_bytes for sample in second),
            median(sample.descriptors for sample in last) - median(sample.descriptors for sample in second),
        )

    def failures(self) -> list[str]:
        """Return what was not flat."""
        growth = self.growth()
        if growth is None:
            return []
        memory_bytes, descriptors = growth
        who = f"life {self.number} of the {self.instance} instance"
        failures = []
        if memory_bytes > MORE_BYTES:
            failures.append(f"{who} grew by {memory_bytes / 1e6:.1f} MB in {self.seconds / 60:.0f} minutes")
        if descriptors > MORE_DESCRIPTORS:
            failures.append(f"{who} opened {descriptors:.0f} descriptors more in {self.seconds / 60:.0f} minutes")
        return failures

    def _quarter(self, number: int) -> Sequence[Sample]:
        count = len(self.samples)
        return self.samples[count * number // 4 : count * (number + 1) // 4]
