"""Was the durable writer slower beside the live channel than beside one that reads elsewhere?"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

INSTANCES = (1, 3)


@dataclass(frozen=True)
class Run:
    """The durable writer catching up once."""

    instances: int
    away: bool
    """Whether the instances have servers of their own."""
    killed: bool
    """Whether the instance was killed when half was stored."""
    records_per_s: float
    """Stored, of the backlog."""
    deliveries_per_s: float
    """To all viewers, meanwhile."""
    entries: int
    """Ever written to the stream."""
    rows: int
    """In Postgres at the end."""


def told(one: Run) -> str:
    """Return a run in one line."""
    where = ", away from the durable path" if one.away else ""
    beside = f"{one.instances} instances{where}" + (", killed half-way" if one.killed else "")
    return f"{beside}: {one.records_per_s:,.0f} records/s, {one.deliveries_per_s:,.0f} deliveries/s"


def chosen(runs: Sequence[Run], instances: int, *, away: bool) -> list[Run]:
    """Return the runs beside so many instances that are there or away, the slowest first."""
    same = [one for one in runs if (one.instances, one.away, one.killed) == (instances, away, False)]
    return sorted(same, key=lambda one: one.records_per_s)


def table(runs: Sequence[Run]) -> str:
    """Return what came out, as a Markdown table."""
    rows = [
        "| instances | read from | records/s stored: median | lowest | highest | deliveries/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for count, away in [(0, False), *((count, away) for count in INSTANCES for away in (True, False))]:
        same = chosen(runs, count, away=away)
        stored = [one.records_per_s for one in same]
        delivered = median(one.deliveries_per_s for one in same)
        servers = "-" if count == 0 else "others" if away else "the writer's"
        rows.append(
            f"| {count} | {servers} | {median(stored):,.0f} | {stored[0]:,.0f} | {stored[-1]:,.0f} | {delivered:,.0f} |"
        )
    return "\n".join(rows)


def failures(runs: Sequence[Run]) -> list[str]:
    """Return what must not be: a difference above the noise, which is the spread while all are away; a lost record."""
    found = []
    for count in INSTANCES:
        there, away = ([one.records_per_s for one in chosen(runs, count, away=where)] for where in (False, True))
        if median(away) - median(there) > away[-1] - away[0]:
            found.append(f"beside {count} instances the writer is {1 - median(there) / median(away):.1%} slower")
    found += [
        f"{one.entries - one.rows} of {one.entries} records are not stored" for one in runs if one.rows != one.entries
    ]
    return found
