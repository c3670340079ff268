"""Rows, goals, and the table."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ADDED_SECONDS = 1.0
GUEST_CALL_MS = 25.0
MUTATION_MS = 80.0
READ_MS = 15.0
READS_PER_SECOND = 300.0
GUEST_MB = 100.0


def say(text: str) -> None:
    """Progress, which is no result."""
    print(f"… {text}", file=sys.stderr, flush=True)


def machine() -> str:
    """What it was measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = model[0].partition(":")[2].strip() if model else platform.machine()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    return f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores ({processor}), load before: {load}"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    value: str
    goal: str = ""
    met: bool | None = None  # none: there is no goal


def at_most(what: str, value: float, goal: float, unit: str, more: str = "") -> Row:
    """A figure that should be small."""
    return Row(what, f"{_number(value)} {unit}{more}", f"<= {goal:g} {unit}", value <= goal)


def at_least(what: str, value: float, goal: float, unit: str) -> Row:
    """A figure that should be large."""
    return Row(what, f"{_number(value)} {unit}", f">= {goal:g} {unit}", value >= goal)


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def spread(seconds: Sequence[float]) -> str:
    """The median, and from where to where."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def percentile(values: Sequence[float], percent: int) -> float:
    """By the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def p50(seconds: Sequence[float]) -> float:
    """The median, in milliseconds."""
    return percentile(seconds, 50) * 1000


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile, in milliseconds."""
    return percentile(seconds, 95) * 1000


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that is readable as it is."""
    words = {None: "", True: "met", False: "missed"}
    lines = [("measured", "value", "goal", ""), *((row.what, row.value, row.goal, words[row.met]) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    ruler = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    written = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    return "\n".join([written[0], ruler, *written[1:]])
