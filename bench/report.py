"""How is it told? As a table for people, as JSON for programs, as a plot for the impatient."""

import json
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.measurement import Measurement

COLUMNS = {
    "scenario": "{0.scenario}",
    "server": "{0.server}",
    "clients x records/s": "{0.clients:,} x {0.rate:,}",
    "deliveries/s": "{0.deliveries_per_s:,.0f}",
    "of a core": "{0.cpu_share:.0%}",
    "CPU µs per delivery": "{0.cpu_us_per_delivery:.2f}",
    "per record": "{0.cpu_us_per_record:.0f}",
    "p50 / p99 / p99.9 ms": "{3}",
    "loop lag p99 ms": "{2}",
    "wire bytes": "{0.wire_bytes_per_delivery:.0f}",
    "KB per client": "{0.memory_kb_per_client:.1f}",
    "subscribed in s": "{0.subscribing_s:.1f}",
    "conflated": "{0.conflated:,}",
    "result": "{1}",
}


def table(measurements: Sequence[Measurement]) -> str:
    """Return the measurements as a Markdown table."""
    rows = [list(COLUMNS), ["---"] * len(COLUMNS)]
    for one in measurements:
        latencies = f"{one.p50_ms} / {one.p99_ms} / {one.p999_ms}" if one.latencies_read else "not read"
        lag = "" if one.loop_lag_p99_ms is None else f"{one.loop_lag_p99_ms:.0f}"
        rows.append([form.format(one, verdict(one), lag, latencies) for form in COLUMNS.values()])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def verdict(measurement: Measurement) -> str:
    """Return whether nothing was lost, and what else there is to say."""
    return "; ".join((*(measurement.failures or ("nothing lost",)), *measurement.doubts))


def plot(measurements: Sequence[Measurement]) -> str:
    """Return a drawing (SVG) of the CPU time per delivery, one bar for each measurement, on a logarithmic scale."""
    width, bar, label = 800, 26, 250
    low, high = 0.1, 100.0
    height = bar * len(measurements) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20">CPU µs per delivery (logarithmic)</text>',
    ]
    for number, one in enumerate(measurements):
        value = min(max(one.cpu_us_per_delivery, low), high)
        length = (width - label - 90) * _decades(value / low) / _decades(high / low)
        top = 35 + number * bar
        parts.append(
            f'<text x="10" y="{top + 14}">{one.scenario}: {one.server}</text>'
            f'<rect x="{label}" y="{top}" width="{length:.0f}" height="{bar - 8}" fill="#3367d6"/>'
            f'<text x="{label + length + 6:.0f}" y="{top + 14}">{one.cpu_us_per_delivery:.2f}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def _decades(ratio: float) -> float:
    return math.log10(ratio)


def tell(line: str) -> None:
    """Say how far it is, beside the results."""
    print(line, file=sys.stderr, flush=True)


def write(measurements: Sequence[Measurement], directory: Path) -> None:
    """Write `results.json`, `results.md` and `results.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    facts = {"python": platform.python_version(), "machine": platform.platform()}
    results = {**facts, "measurements": [asdict(one) for one in measurements]}
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (directory / "results.md").write_text(table(measurements) + "\n", encoding="utf-8")
    (directory / "results.svg").write_text(plot(measurements) + "\n", encoding="utf-8")
