"""How many records cannot be used, and is that still an accident?"""

import logging
from collections import Counter

import prometheus_client

from processor_live import Check
from processor_live_redis.record import Flaw

log = logging.getLogger(__name__)

UNUSABLE = prometheus_client.Counter("live_unusable_records_total", "Stream entries skipped, by flaw", ["flaw"])
UNPUBLISHED = "unpublished"
"""The flaw of a record that was good, until a plugin raised."""

SUSPICIOUS_SHARE = 0.5
"""Above it something is wrong with a clock, or with what writes the stream, and nobody sees anything."""
SUSPICIOUS_SAMPLE = 100
"""So many records at least, the ordinary ones aside, or the share says nothing."""
ORDINARY = Flaw.NO_FIX.value
"""A garage full of trackers is no fault, nor does it make one smaller."""


class Flaws:
    """Counts unusable records; logs the first of each flaw, without any of its content; and judges their share."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._logged: set[str] = set()
        self._records = 0
        self._seen: Counter[str] = Counter()
        """Since the last judgement."""

    def note(self, flaw: str, entry_id: bytes, detail: str) -> None:
        """Count an unusable record."""
        UNUSABLE.labels(flaw).inc()
        self._seen[flaw] += 1
        if flaw not in self._logged:
            self._logged.add(flaw)
            log.warning(
                "record.unusable flaw=%s entry=%s detail=%r (further ones are only counted)",
                flaw,
                entry_id.decode(),
                detail,
            )

    def judge(self, records: int) -> None:
        """Say, whenever there are enough, whether most are unusable; `records` have been read, whatever they were."""
        self._records += records - self._seen.pop(ORDINARY, 0)
        if self._records < SUSPICIOUS_SAMPLE:
            return
        unusable = min(self._seen.total(), self._records)  # what is published now may have been read long ago
        share = unusable / self._records
        if share > SUSPICIOUS_SHARE:
            ((most, _),) = self._seen.most_common(1)
            self._check.failing(f"{share:.0%} of the records cannot be used, most of them: {most}")
        else:
            self._check.good()
        self._records = 0
        self._seen.clear()
