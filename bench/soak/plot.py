"""How does a soak look? Memory, descriptors and deliveries over time, and when something went wrong."""

from collections.abc import Callable, Iterable, Sequence

from bench.soak.course import Log
from bench.soak.life import Life, Sample

WIDTH, LEFT, RIGHT = 900, 60, 20
PANEL, GAP, TOP = 130, 34, 40
LINE = 16
COLOURS = {"harried": "#d9480f", "steady": "#3367d6"}
_Line = tuple[str, Sequence[tuple[float, float]]]
"""A colour, and the points."""


def plot(log: Log) -> str:
    """Return the drawing (SVG). Above the panels are the numbers of the faults in the legend below them."""
    names = list(dict.fromkeys(period.fault for period in log.periods))
    end_s = max(at_s for at_s, _ in log.deliveries)
    panels: list[tuple[str, list[_Line]]] = [
        ("Resident memory, MB", _lines(log.lives, lambda sample: sample.memory_bytes / 1e6)),
        (
            "Open files and sockets, those of viewers and to Directus not counted",
            _lines(log.lives, lambda sample: sample.descriptors),
        ),
        ("Positions received a second, all viewers", [("#2b8a3e", log.deliveries)]),
    ]
    bottom = TOP + len(panels) * (PANEL + GAP)
    height = bottom + LINE * (len(names) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">',
        "<style>text{font-size:12px}.number{font-size:9px}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for period in log.periods:
        x = _x(period.at_s, end_s)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{TOP - 18}" y2="{bottom - GAP}" stroke="#ced4da"/>'
            f'<text x="{x}" y="{TOP - 22}" text-anchor="middle" class="number">{names.index(period.fault) + 1}</text>'
        )
    for number, (title, lines) in enumerate(panels):
        parts += _panel(title, lines, TOP + number * (PANEL + GAP), end_s)
    for number, (instance, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{LEFT + number * 180}" y="{bottom}" fill="{colour}">the {instance} instance</text>')
    for number, name in enumerate(names, 1):
        parts.append(f'<text x="{LEFT}" y="{bottom + number * LINE + 6}">{number}. {name}</text>')
    return "\n".join([*parts, "</svg>"])


def _lines(lives: Iterable[Life], value: Callable[[Sample], float]) -> list[_Line]:
    return [(COLOURS[life.instance], [(sample.at_s, value(sample)) for sample in life.samples]) for life in lives]


def _panel(title: str, lines: Iterable[_Line], top: int, end_s: float) -> list[str]:
    """Return a panel from zero to a little above the highest value."""
    highest = max((value for _, points in lines for _, value in points), default=0) * 1.1 or 1.0
    parts = [
        f'<text x="{LEFT}" y="{top - 4}">{title}</text>',
        f'<path d="M{LEFT} {top}V{top + PANEL}H{WIDTH - RIGHT}" fill="none" stroke="black"/>',
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{highest:,.0f}</text>',
        f'<text x="{LEFT - 6}" y="{top + PANEL}" text-anchor="end">0</text>',
        f'<text x="{WIDTH - RIGHT}" y="{top + PANEL + 14}" text-anchor="end">{end_s / 60:.0f} min</text>',
    ]
    for colour, points in lines:
        drawn = " ".join(f"{_x(at_s, end_s)},{top + PANEL * (1 - value / highest):.0f}" for at_s, value in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}"/>')
    return parts


def _x(at_s: float, end_s: float) -> str:
    return f"{LEFT + (WIDTH - LEFT - RIGHT) * at_s / end_s:.1f}"
