"""Looking at the machine with its own tools, not by asking the part under test."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path


def loopback() -> str:
    """An address of this machine that no other test uses."""
    number = random.randrange(1, 2**16)
    return f"127.77.{number >> 8}.{max(1, number & 0xFE)}"


def processes_below(folder: Path) -> list[int]:
    """Ids of processes whose command line or working directory is below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            place = str((entry / "cwd").readlink())
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX" and (str(folder) in words or place.startswith(str(folder))):
            found.append(int(entry.name))
    return found


def kill_below(folder: Path) -> list[int]:
    """Kill what `processes_below` finds, and wait until it is gone; return the ids.

    A process may end by itself between the look and the signal. PostgreSQL starts only when none of its old processes is left.
    """
    found = processes_below(folder)
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    last = time.monotonic() + 10
    while set(found) & set(processes_below(folder)) and time.monotonic() < last:
        time.sleep(0.02)
    return found
