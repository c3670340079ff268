"""What a process takes, from the kernel's own books."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import memory

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of one process, at a moment. MB are 10⁶ bytes."""

    rss: float
    pss: float
    threads: int
    files: int
    cpu: float  # seconds, since it started
    at: float

    def share_since(self, before: "Usage") -> float:
        """Percent of one core since then."""
        return 100 * (self.cpu - before.cpu) / (self.at - before.at)


def usage(pid: int) -> Usage:
    """What it takes now."""
    place = Path(f"/proc/{pid}")
    taken = memory([pid])
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    files = sum(1 for _ in (place / "fd").iterdir())
    return Usage(taken.rss, taken.pss, int(status["Threads"]), files, cpu_seconds(pid), time.monotonic())


def cpu_seconds(pid: int) -> float:
    """What it has used of a processor, in user's and in kernel's mode."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICK
