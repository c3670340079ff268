"""What an engine's own tools do for backups: the part of it that differs from engine to engine."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from contract.domain.errors import EngineFailed, Unsupported
from guest_worker import host
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.process import EngineProcess
from guest_worker.datastores.room import require_room


@dataclass(frozen=True)
class Tool:
    """A program that writes a copy, or takes one. It has done so when it ends with 0 and said `success`."""

    command: Sequence[str]
    success: str = ""


def extracting(folder: Path) -> Tool:
    """Takes an archive of tar's."""
    return Tool([host.find_program("tar"), "--extract", f"--directory={folder}", "--file=-"])


class EngineBackup(ABC):
    """Copies of one engine's data directory, as streams. Nothing here knows of stores, chunks or keys."""

    incremental = False  # whether it can write what has changed since a position

    def __init__(self, context: EngineContext, manager: str) -> None:
        self.context = context
        self.folder = context.data / manager
        self.half = self.folder.with_name(f"{manager}.restoring")
        self._restoring = EngineProcess(context.state, "restore", context.engine)

    @abstractmethod
    def copying(self, since: str) -> AbstractContextManager[Tool]:
        """The tool that writes a copy that is consistent by itself, or what has changed since a position; the engine runs.

        What the tool needs of the engine is there while the context is open.
        """

    @abstractmethod
    def position(self, said: str) -> str:
        """Where the engine was at the end of the copy, from what the tool has said."""

    @abstractmethod
    def taking(self, folder: Path) -> Tool:
        """The tool that makes the files of a copy in an empty folder."""

    @abstractmethod
    def make_whole(self, parts: Sequence[Path]) -> None:
        """Make the first part, with the others as increments, a data directory that the engine starts on.

        Nothing in it is the other instance's own any more. EngineFailed where that cannot be so.
        """

    # -- the same for each --------------------------------------------------------------------------------------------

    def tidy(self) -> None:  # noqa: B027 - not every tool needs room of its own
        """Remove what a copy that was broken off has left on the data volume."""

    def size(self) -> int:
        """Bytes of the data directory."""
        return self.context.engine.size(self.folder)

    def require_increments(self) -> None:
        """Unsupported where the engine has none."""
        if not self.incremental:
            raise Unsupported(f"{self.folder.name} has no incremental backups")

    def require_empty(self, size: int) -> None:
        """EngineFailed where a data directory is there, or no room for one of this size."""
        if self.folder.exists():
            raise EngineFailed("there is a database on the data volume already: nothing was restored")
        self.forget()
        require_room(self.folder.parent, size, "the backup", "nothing was restored")

    def part(self, number: int) -> Path:
        """An empty folder of the engine's user for a part of the chain; the first becomes the data directory."""
        path = self.half / f"{number}"
        for each in (self.half, path):
            self.context.engine.run([host.find_program("mkdir"), "-p", "-m", "0700", "--", str(each)])
        return path

    def put_in_place(self) -> None:
        """Make the first part the data directory, all of it on disk."""
        os.sync()
        self.context.engine.move(self.half / "0", self.folder)
        self.forget()

    def forget(self) -> None:
        """Remove what is left of a restore that came to nothing."""
        self.do([host.find_program("rm"), "-rf", "--", str(self.half)])

    def do(self, command: Sequence[str], success: str = "") -> None:
        """Do what takes as long as it takes; EngineFailed unless it ends well, with `success` in its last line.

        What an earlier attempt at a restore has left running is ended first.
        """
        self._restoring.run(command)
        if success and success not in self._restoring.last_line():
            raise EngineFailed(f"{Path(command[0]).name} ended without saying that it was done")
