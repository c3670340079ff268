"""An engine's process: started detached, so that it outlives the guest worker, and found again by id and start time."""

import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from contract.domain.errors import EngineFailed, NotYet
from guest_worker import host
from guest_worker.datastores.base import AdministratorRefused, EngineState, Probe
from guest_worker.engine_user import EngineUser, SameUser
from guest_worker.logs.files import LogFile

TELLING = ("ERROR", "FATAL", "PANIC", " LOG:  unrecognized")  # how engines mark the lines that say why they end
NO_SPACE = ("No space left on device", "Disk is full", "disk full", "Errcode: 28", "No space left", "Errcode: 122")
TAIL = 65_536  # bytes of it that are read
VAIN = ("Aborting", "contains errors")  # their last words that say nothing


class EngineProcess:
    """The one server process of an engine and all that it starts."""

    def __init__(
        self, folder: Path, name: str, engine: EngineUser | None = None, foreign: re.Pattern[str] | None = None
    ) -> None:
        """`foreign`: lines of the log that hold what tenants say, which is told to nobody else."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._name = name
        self._engine = engine or SameUser()
        self._pid_file = folder / f"{name}.pid"
        self._log = LogFile(folder / f"{name}.log")
        self.log = self._log.path
        self._foreign = foreign
        self._log_start = 0  # where it began to write after its last start

    def pid(self) -> int | None:
        """The process's id while it is the one that was started."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        number = int(pid)
        return number if host.alive(number) and host.started_at(number) == started else None

    def start(self, command: Sequence[str], probe: Callable[[], Probe], *, patience: float = 50) -> None:
        """Start and wait until it answers; EngineFailed with the end of its log when it ends instead."""
        begun = self.pid() is None
        if begun:
            self._begin(command)
        deadline = time.monotonic() + patience
        while (seen := probe()).state is not EngineState.ANSWERS:
            if seen.state is EngineState.ADMINISTRATOR_REFUSED:
                raise AdministratorRefused(f"{self._name} refuses its administrator: {seen.words}")
            if self.pid() is None and begun:
                raise EngineFailed(f"{self._name} does not start: {self.last_words()}")
            if self.pid() is None:  # one that was about to end has ended
                begun = True
                self._begin(command)
            if time.monotonic() > deadline:
                raise NotYet(f"{self._name} does not answer yet: {seen.words or self.last_words()}")
            time.sleep(0.05)

    def run(self, command: Sequence[str], *, given: str = "") -> None:
        """Do what takes long to its end; EngineFailed where it fails. What an earlier attempt has left is ended first.

        `given` goes to its standard input: the way for secrets, which must not be seen in `ps`.
        """
        self.stop(signal.SIGKILL)
        number = self._begin(command, given)
        while (code := self._engine.ended(number)) is None:
            time.sleep(0.1)
        self._pid_file.unlink(missing_ok=True)
        if code != 0:
            raise EngineFailed(f"{Path(command[0]).name} ended with {code}: {self.last_words()}")

    def _begin(self, command: Sequence[str], given: str = "") -> int:
        self.rotate_log()
        self._log_start = self._log.size
        number = self._engine.start(command, self.log, given=given)
        self._pid_file.write_text(f"{number} {host.started_at(number)}")
        return number

    def stop(self, number: signal.Signals, *, patience: float = 50) -> None:
        """Ask the engine to end and wait for it and its children; NotYet when it takes longer."""
        pid = self.pid()
        if pid is None:
            return
        family = [pid, *_descendants(pid)]
        self._engine.signal(pid, number)
        deadline = time.monotonic() + patience
        while any(host.alive(each) for each in family):
            if time.monotonic() > deadline:
                raise NotYet(f"{self._name} is stopping")
            time.sleep(0.05)
        self._pid_file.unlink(missing_ok=True)

    def rotate_log(self) -> None:
        """Keep the log small; the engine goes on writing at its end."""
        if self._log.rotate():
            self._log_start = 0

    def silent(self, words: str = "") -> Probe:
        """What an engine that does not answer is: it may have said that there is no space."""
        full = any(any(sign in line for sign in NO_SPACE) for line in self._lines())
        return Probe(EngineState.DISK_FULL if full else EngineState.SILENT, self.last_words(words))

    def last_words(self, words: str = "") -> str:
        """The line of its log since the last start that says why it ends; without one these words, or its last line."""
        lines = self._lines()
        telling = (
            [line for line in lines if any(word in line for word in TELLING)] or [words] * bool(words) or lines[-1:]
        )
        useful = [line for line in telling if not line.endswith(VAIN)] or telling
        return useful[-1].strip()[-300:] if useful else ""

    def last_line(self) -> str:
        """The last thing that it said since it was started."""
        return next((line for line in reversed(self._lines()) if line.strip()), "")

    def _lines(self) -> list[str]:
        """The last lines that it wrote since it was started."""
        size = self._log.size
        if size == 0:
            return []
        begin = self._log_start if self._log_start <= size else 0
        with self.log.open("rb") as file:
            file.seek(max(begin, size - TAIL))
            lines = file.read(TAIL).decode(errors="replace").splitlines()
        return [line for line in lines if self._foreign is None or not self._foreign.search(line)][-50:]


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*children, *(below for child in children for below in _descendants(child))]


def text_of(settings: Mapping[str, str], form: str) -> str:
    """Render settings one a line, `form` being like `{key} = {value}`."""
    return "".join(form.format(key=key, value=value) + "\n" for key, value in settings.items())
