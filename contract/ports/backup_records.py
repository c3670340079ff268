"""Backups and strategies in the records, where no operation on an instance changes them."""

from abc import ABC, abstractmethod
from datetime import datetime
from uuid import UUID

from temporalio import activity

from contract.domain.backups import BackupFacts
from contract.domain.fact import Fact
from contract.domain.operation import Caller


def backup_lock_id(backup_id: UUID) -> str:
    """Workflow id of the deletion of a backup."""
    return f"backup/{backup_id}"


class BackupName(Fact):
    """Which backup, and who asks."""

    id: UUID
    caller: Caller


class DeleteBackupOrder(BackupName):
    """Delete it. Past `expires_at` nothing is begun, for nobody waits for the answer any more.

    `objects_gone`: whoever may look at the container has found that it is gone, with all that was in it.
    """

    expires_at: datetime | None = None
    objects_gone: bool = False

    @property
    def name(self) -> BackupName:
        """Which, and who."""
        return BackupName(id=self.id, caller=self.caller)


class BackupLeft(Fact):
    """A backup that could not be deleted, and why."""

    id: UUID
    reason: str


class Strategy(Fact):
    """Into which container backups go that name none: those of an instance, or without one, of the project."""

    project_id: str
    instance_id: UUID | None = None
    container: str = ""


class BackupRecords(ABC):
    """Errors: NotFound, and Busy for a backup that is being made or restored from."""

    @abstractmethod
    @activity.defn
    async def begin_deletion(self, which: BackupName) -> BackupFacts:
        """Return the backup, which nobody can restore from any more; again, the same."""

    @abstractmethod
    @activity.defn
    async def forget_backup(self, backup_id: UUID) -> None:
        """Remove the record and give the quota back; content where it is gone."""

    @abstractmethod
    @activity.defn
    async def keep_backup(self, left: BackupLeft) -> None:
        """Say that the deletion has failed."""

    @abstractmethod
    @activity.defn
    async def set_strategy(self, strategy: Strategy) -> None: ...

    @abstractmethod
    @activity.defn
    async def remove_strategy(self, strategy: Strategy) -> None:
        """Content where there is none."""
