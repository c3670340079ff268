"""A copy of an engine's data directory beside it: the way back from what changes the data for good."""

import os
import signal
from pathlib import Path

from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.base import WHOLE
from guest_worker.datastores.process import EngineProcess
from guest_worker.datastores.room import require_room
from guest_worker.engine_user import EngineUser


class KeptData:
    """Copies of `folder`, each named by the series of the engine that made the data.

    A copy has its name when it is whole and on disk. It is put back by being moved, so an engine never runs on the data
    while there is a copy of its own series: what has one was not let in to since.
    """

    def __init__(self, folder: Path, state: Path, engine: EngineUser) -> None:
        self._folder = folder
        self._engine = engine
        self._half = folder.with_name(f"{folder.name}.kept.half")
        self._copying = EngineProcess(state, "copy", engine)

    def _kept(self, version: str) -> Path:
        return self._folder.with_name(f"{self._folder.name}.kept-{version}")

    def has(self, version: str) -> bool:
        """Whether there is a copy of this series."""
        return self._kept(version).exists()

    def keep(self, version: str) -> None:
        """Make a copy, however long that takes; content where it is there."""
        kept = self._kept(version)
        if kept.exists():
            return
        self.forget()
        self.require_room()
        try:
            self._copying.run([host.find_program("cp"), "-a", *WHOLE, "--", str(self._folder), str(self._half)])
        except EngineFailed:
            self.forget()
            raise
        os.sync()
        self._engine.move(self._half, kept)

    def require_room(self) -> None:
        """EngineFailed where the volume has no room for a copy."""
        what = "a copy of the data, for the way back,"
        require_room(self._folder.parent, self._engine.size(self._folder), what, "resize the volume first")

    def restore(self, version: str) -> None:
        """Put the copy of this series in the place of the data; nothing where there is none."""
        kept = self._kept(version)
        if kept.exists():
            self._remove(self._folder)
            self._engine.move(kept, self._folder)

    def break_off(self) -> None:
        """End a copy that is being made."""
        self._copying.stop(signal.SIGKILL)

    def forget(self) -> None:
        """Remove all copies, and what is left of one that was broken off."""
        self.break_off()
        for each in sorted(self._folder.parent.glob(f"{self._folder.name}.kept*")):
            self._remove(each)

    def _remove(self, folder: Path) -> None:
        self._copying.run([host.find_program("rm"), "-rf", "--", str(folder)])
