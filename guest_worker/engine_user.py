"""Who runs the engine's programs: an OS user of the engine's own where there is a privileged process, else the guest's."""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from guest_worker import host


class EngineUser(ABC):
    """The OS user that the engine's programs run as and that owns its data."""

    @abstractmethod
    def run(self, command: Sequence[str], *, given: str | None = None) -> str:
        """Run a program to its end and return what it printed; CommandFailed for another exit code than 0.

        `given` goes to its standard input: the way for secrets, which must not be seen in `ps`.
        """

    @abstractmethod
    def start(self, command: Sequence[str], log: Path) -> int:
        """Start a process that outlives this one; return its id."""

    @abstractmethod
    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process of this user."""

    def remove(self, folder: Path) -> None:
        """Remove a folder of this user's; content when it is gone."""
        self.run([host.find_program("rm"), "-rf", "--", str(folder)])


class SameUser(EngineUser):
    """The guest worker's own user."""

    def run(self, command: Sequence[str], *, given: str | None = None) -> str:
        """Run it here."""
        return host.run(command, given=given)

    def start(self, command: Sequence[str], log: Path) -> int:
        """Start it here."""
        return host.start(command, log)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send it ourselves."""
        os.kill(pid, number)
