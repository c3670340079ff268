"""What the stack's processes take, from the kernel's own books."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import Unexpected
from benchmarks.report import GUEST_MB, Row, at_most
from deploy.settings import StackSettings
from deploy.supervisor import Supervisor

GUEST, DISK = "guest_worker", "guest_worker.disk"


@dataclass(frozen=True)
class Memory:
    """Of one process and all that it started, in MB. RSS counts shared pages in each, PSS shares them out."""

    processes: int
    rss: float
    pss: float


class Processes:
    """Who runs now, and whose child each is."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = defaultdict(list)
        self._words: dict[int, list[str]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    self._words[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    self._children[parent].append(int(entry.name))

    def children(self, pid: int) -> list[int]:
        """Those that a process started."""
        return self._children[pid]

    def family(self, pid: int) -> list[int]:
        """A process and all below it."""
        return [pid, *(below for child in self._children[pid] for below in self.family(child))]

    def program(self, pid: int) -> str:
        """The name of its program."""
        return Path(self._words[pid][0]).name

    def modules(self, servers: set[str]) -> Iterator[tuple[int, str]]:
        """Processes `-m MODULE` of the embedded cloud's servers."""
        for pid, words in self._words.items():
            if "-m" in words[:-1]:
                with contextlib.suppress(OSError):
                    said = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
                    if any(f"LOCALCLOUD_SERVER={each}" in said for each in servers):
                        yield pid, words[words.index("-m") + 1]


def memory(pids: list[int]) -> Memory:
    """Added up; a process that has ended meanwhile takes nothing."""
    there, rss, pss = 0, 0.0, 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
            kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
            there, rss, pss = there + 1, rss + kib["Rss"] * 1024 / 1e6, pss + kib["Pss"] * 1024 / 1e6
    return Memory(there, rss, pss)


def measure(settings: StackSettings) -> list[Row]:
    """A row for each process that the supervisor keeps, then the guests'."""
    there = Processes()
    guests = list(there.modules({each.name for each in (settings.open_home / "cloud/servers").iterdir()}))
    workers = {pid for pid, module in guests if module == GUEST}
    if not workers:
        raise Unexpected("no guest worker was found")
    rows = []
    for name, state in Supervisor(settings).states().items():
        if state["statename"] != "RUNNING":
            raise Unexpected(f"{name} does not run: {state['statename']}")
        servers = {below for pid, _ in guests for below in there.family(pid)}
        own = [pid for pid in there.family(state["pid"]) if pid not in servers]  # servers are localcloud's children
        rows.append(_row(name, memory(own)))
    largest = max((memory([pid]) for pid in workers), key=lambda each: each.rss)
    what = f"memory of the largest of {len(workers)} guest workers, RSS"
    rows.append(at_most(what, largest.rss, GUEST_MB, "MB", f", PSS {largest.pss:.0f} MB"))
    rows += [_row("a guest's disk helper", memory([pid])) for pid, module in guests if module == DISK][:1]
    starters = {pid for pid, module in guests if module in (GUEST, DISK)}
    engines = {there.program(pid): pid for starter in starters for pid in there.children(starter)}
    rows += [_row(f"engine {name}", memory(there.family(pid))) for name, pid in sorted(engines.items())]
    return rows


def _row(name: str, taken: Memory) -> Row:
    many = f", {taken.processes} processes" if taken.processes > 1 else ""
    return Row(f"memory of {name}, RSS", f"{taken.rss:.0f} MB, PSS {taken.pss:.0f} MB{many}")
