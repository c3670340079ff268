"""Who runs the engine's programs: an OS user of the engine's own where there is a privileged process, else the guest's."""

import contextlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from guest_worker import disk, host
from guest_worker.paths import GuestPaths

KIB = 1024
LONGEST_OUTPUT = 1_000_000  # bytes of what a program prints


class EngineUser(ABC):
    """The OS user that the engine's programs run as and that owns its data."""

    @abstractmethod
    def run(self, command: Sequence[str], *, given: str | None = None) -> str:
        """Run a program to its end and return what it printed; CommandFailed for another exit code than 0.

        `given` goes to its standard input: the way for secrets, which must not be seen in `ps`.
        """

    @abstractmethod
    def start(self, command: Sequence[str], log: Path, *, given: str = "") -> int:
        """Start a process that outlives this one, in a folder that it may write to; return its id.

        `given` is its standard input.
        """

    @abstractmethod
    def pipe(self, command: Sequence[str], ends: tuple[int, int], said: int) -> int:
        """Start a process that reads one descriptor and writes another, its messages to a third; return its id."""

    @abstractmethod
    def ended(self, pid: int) -> int | None:
        """The exit code of what `start` has started, None while it runs; -1 where nobody knows."""

    @abstractmethod
    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process of this user."""

    def remove(self, folder: Path) -> None:
        """Remove a folder of this user's; no error if it is gone."""
        self.run([host.find_program("rm"), "-rf", "--", str(folder)])

    def size(self, folder: Path) -> int:
        """Bytes of a folder of this user's."""
        return int(self.run([host.find_program("du"), "-sk", "--", str(folder)]).split()[0]) * KIB

    def write(self, path: Path, text: str) -> None:
        """Write a file that this user alone reads."""
        self.run([host.find_program("install"), "-m", "0600", "--", "/dev/stdin", str(path)], given=text)

    def move(self, old: Path, new: Path) -> None:
        """Rename a folder of this user's."""
        self.run([host.find_program("mv"), "-T", "--", str(old), str(new)])


class SameUser(EngineUser):
    """The guest worker's own user."""

    def run(self, command: Sequence[str], *, given: str | None = None) -> str:
        """Run it here."""
        return host.run(command, given=given)

    def start(self, command: Sequence[str], log: Path, *, given: str = "") -> int:
        """Start it here, in the folder of its log."""
        with _in_memory("input", given.encode()) as source:
            return host.start(command, log, source=source.fileno(), cwd=log.parent)

    def pipe(self, command: Sequence[str], ends: tuple[int, int], said: int) -> int:
        """Start it here."""
        return host.pipe(command, ends, said)

    def ended(self, pid: int) -> int | None:
        """Ask the kernel, whose child it is of ours."""
        return host.exit_code(pid)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send it ourselves."""
        os.kill(pid, number)


class OwnUser(EngineUser):
    """A user of the engine's own: the privileged process runs its programs, with files that are opened here."""

    def __init__(self, paths: GuestPaths) -> None:
        self._paths = paths

    def run(self, command: Sequence[str], *, given: str | None = None) -> str:
        """Run it there; input and output are files in memory, which that user may open by their `/dev/stdin`."""
        with _in_memory("input", (given or "").encode()) as source, _in_memory("output") as output:
            files = (source.fileno(), output.fileno(), output.fileno())
            code = self._ask({"verb": "run", "command": list(command)}, files)["run"]
            output.seek(0)
            said = output.read(LONGEST_OUTPUT).decode(errors="replace")
        if code != 0:
            raise host.CommandFailed(command[0], code, said.strip()[-500:])
        return said

    def start(self, command: Sequence[str], log: Path, *, given: str = "") -> int:
        """Start it there; it writes to our log, and cannot open it."""
        with log.open("ab") as output, _in_memory("input", given.encode()) as source:
            return self.pipe(command, (source.fileno(), output.fileno()), output.fileno())

    def pipe(self, command: Sequence[str], ends: tuple[int, int], said: int) -> int:
        """Start it there, with our descriptors."""
        return self._ask({"verb": "start", "command": list(command)}, (*ends, said))["start"]

    def ended(self, pid: int) -> int | None:
        """Ask there."""
        return self._ask({"verb": "ended", "pid": pid}).get("ended")

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Have it sent there; ProcessLookupError when that user has no such process."""
        try:
            self._ask({"verb": "signal", "pid": pid, "number": int(number)})
        except host.CommandFailed as error:
            raise ProcessLookupError(str(error)) from error

    def _ask(self, question: dict[str, Any], files: Sequence[int] = ()) -> dict[str, int]:
        try:
            return disk.ask(self._paths, question, files)
        except (disk.DiskRefused, disk.NotDone) as error:
            raise host.CommandFailed(str(question["verb"]), -1, str(error)) from error


@contextlib.contextmanager
def _in_memory(name: str, content: bytes = b"") -> Iterator[BinaryIO]:
    with os.fdopen(os.memfd_create(name), "w+b") as file:
        file.write(content)
        file.seek(0)
        yield file
