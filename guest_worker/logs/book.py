"""Which logs are switched on, and how far each is published: kept on the data volume, so that a rebuild keeps it.

The engine's OS user writes to the volume, too. What is read is in a folder of our own, or it is nothing.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from contract.domain.errors import EngineFailed
from contract.domain.fact import Fact
from contract.files import write_private
from guest_worker.logs.files import reading

LONGEST = 65_536  # bytes of the file


class Place(Fact):
    """How far a log is published: in which file (see `Part`), to which byte, and what that file begins with."""

    number: int
    offset: int
    head: int = 0
    digest: str = ""


class PlannedObject(Fact):
    """An object that is being stored: again under the same name where that was broken off."""

    name: str
    number: int
    start: int
    end: int


class LogState(Fact):
    """What is remembered of one log; `published` in bytes, `forgotten`: by which call it was discarded last."""

    enabled: bool = False
    published: int = 0
    place: Place | None = None
    planned: PlannedObject | None = None
    forgotten: str = ""


class Page(Fact):
    """What the file holds."""

    logs: dict[str, LogState] = Field(default_factory=dict)


class LogBook:
    """One file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "logs.json"

    def of(self, name: str) -> LogState:
        """What is remembered of a log."""
        return self._read().logs.get(name, LogState())

    def enabled(self) -> frozenset[str]:
        """Logs that are switched on; makes the folder, before an engine runs that could take its place."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700)
        return frozenset(name for name, state in self._read().logs.items() if state.enabled)

    def put(self, name: str, state: LogState) -> None:
        """Remember it; on the disk when this returns."""
        page = Page(logs={**self._read().logs, name: state})
        try:
            if not self._is_ours():
                raise FileNotFoundError(0, "its folder is not the guest's")
            write_private(self._path, page.model_dump_json())
        except OSError as error:
            raise EngineFailed(f"the data volume takes no writes of the guest: {error.strerror}") from error

    def _read(self) -> Page:
        with suppress(OSError, ValidationError):
            if self._is_ours():
                with reading(self._path) as file:
                    return Page.model_validate_json(file.read(LONGEST))
        return Page()

    def _is_ours(self) -> bool:
        found = self._folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
