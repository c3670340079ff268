"""An engine's process: started detached, so that it outlives the guest worker, and found again by id and start time."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from guest_worker import host
from guest_worker.engine_user import EngineUser, SameUser
from workflows.domain.errors import EngineFailed, NotYet

TELLING = ("ERROR", "FATAL", "PANIC", " LOG:  unrecognized")  # how engines mark the lines that say why they end
VAIN = ("Aborting", "contains errors")  # their last words that say nothing


class EngineProcess:
    """The one server process of an engine and all that it starts."""

    def __init__(self, folder: Path, name: str, engine: EngineUser | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._name = name
        self._engine = engine or SameUser()
        self._pid_file = folder / f"{name}.pid"
        self.log = folder / f"{name}.log"

    def pid(self) -> int | None:
        """The process's id while it is the one that was started."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        number = int(pid)
        return number if host.alive(number) and host.started_at(number) == started else None

    def start(self, command: Sequence[str], answers: Callable[[], bool], *, patience: float = 50) -> None:
        """Start and wait until it answers; EngineFailed with the end of its log when it ends instead."""
        if self.pid() is None:
            self._rotate()
            number = self._engine.start(command, self.log)
            self._pid_file.write_text(f"{number} {host.started_at(number)}")
        deadline = time.monotonic() + patience
        while not answers():
            if self.pid() is None:
                raise EngineFailed(f"{self._name} does not start: {self._last_words()}")
            if time.monotonic() > deadline:
                raise NotYet(f"{self._name} does not answer yet")
            time.sleep(0.05)

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

    def _rotate(self) -> None:
        if self.log.exists() and self.log.stat().st_size > 5_000_000:
            self.log.replace(self.log.with_name(self.log.name + ".1"))

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        telling = [line for line in lines[-50:] if any(word in line for word in TELLING)] or lines[-1:]
        useful = [line for line in telling if not line.endswith(VAIN)] or telling
        return useful[-1].strip()[-300:] if useful else "it said nothing"


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*children, *(below for child in children for below in _descendants(child))]


def text_of(settings: Mapping[str, str], form: str) -> str:
    """Render settings one a line, `form` being like `{key} = {value}`."""
    return "".join(form.format(key=key, value=value) + "\n" for key, value in settings.items())
