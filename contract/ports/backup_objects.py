"""Backups in the object store, as the control plane reaches them: tickets for guests, the check, the deletion."""

from abc import ABC, abstractmethod
from uuid import UUID

from temporalio import activity

from contract.domain.accounts import Sealed
from contract.domain.backups import BackupFacts
from contract.domain.fact import Fact
from contract.ports.tickets import Right, Ticket
from contract.ports.waits import Wait, waits


class BackupAccessOrder(Fact):
    """For which backup, for whose guest, and to do what."""

    backup: BackupFacts
    reader_id: UUID
    right: Right


class BackupAccess(Fact):
    """What a guest reaches a backup with; `key_id` tells which key that is."""

    ticket: Ticket
    key: Sealed
    key_id: str


class BackupObjects(ABC):
    """Whoever asks has made sure that the guest may have the backup: records admit what is of the same project alone.

    Errors: TicketRefused for a container whose key was changed, NotFound for one that is gone.
    """

    @abstractmethod
    @activity.defn
    def open_backup(self, order: BackupAccessOrder) -> BackupAccess:
        """Return a ticket for the longest time that there is, and the backup's key, sealed for the guest."""

    @abstractmethod
    @activity.defn
    @waits()
    def check_backup(self, backup: BackupFacts) -> None:
        """Compare the manifest with the backup's checksum, and each object with the manifest; or ResourceFailed."""

    @abstractmethod
    @activity.defn
    @waits(Wait.LONGER)
    def delete_backup(self, backup: BackupFacts) -> None:
        """Delete its objects, the manifest first; content where they are gone, or the container is."""
