"""What a datastore must be able to do about its logs."""

from abc import ABC, abstractmethod
from pathlib import Path


class Logs(ABC):
    """Logs that a tenant reads and switches, for engines that write some. Each is in a folder of the guest's own."""

    @abstractmethod
    def files(self) -> dict[str, Path]:
        """Where each log is written to, by name."""

    @abstractmethod
    def settings(self, enabled: frozenset[str]) -> dict[str, str]:
        """Settings that have these logs written, and no others that can be switched; makes the files that are missing."""

    @abstractmethod
    def switch(self, enabled: frozenset[str]) -> None:
        """Have the running engine write these; EngineFailed where it refuses."""

    def without_ours(self, name: str, lines: bytes) -> bytes:
        """Whole lines of a log without what our own sessions wrote there: their statements are never written."""
        return lines
