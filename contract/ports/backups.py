"""Backups of an instance, made and restored in its guest; see `guest` for what holds of every verb.

A backup is objects `<instance id>/<backup id>/000001`, `000002` …, sealed with a key of its own, and last
`<instance id>/<backup id>/manifest.json`, which lists them: without it there is no backup.
"""

from abc import ABC, abstractmethod
from uuid import UUID

from temporalio import activity

from contract.domain.accounts import Sealed
from contract.domain.fact import Fact, Line, Number
from contract.domain.manifest import Sha256
from contract.ports.guest import Fenced, GuestInfo
from contract.ports.tickets import Ticket


class BackupSource(Fact):
    """A backup that is there, and how to read it.

    `ticket` is to read; `key` is the backup's, hexadecimal and sealed for the guest that is asked; `checksum` is the
    manifest's, as the backup's report said it.
    """

    instance_id: UUID
    backup_id: UUID
    ticket: Ticket
    key: Sealed
    checksum: Sha256


class BackupParent(Fact):
    """The backup that an increment is of, by the position that its report said."""

    backup_id: UUID
    position: Line
    source: BackupSource | None = None  # for engines that need more of it than its position


class BackupOrder(Fenced):
    """Back the instance up. `ticket` is to write, for the backup's prefix; it has to last until the end.

    `key`: 32 bytes, hexadecimal, made for this backup alone and sealed for the guest; `key_id` is what its owner finds it
    by again, and stands in the manifest. Without `parent`, a full backup.
    """

    backup_id: UUID
    ticket: Ticket
    key: Sealed
    key_id: str = ""
    parent: BackupParent | None = None


class BackupReport(Fact):
    """What was stored. `size_bytes`: of the data directory, so what a restore needs at least; `stored_bytes`: of the chunks.

    `checksum`: SHA-256 of the manifest. `position`: where in its log the engine was, in its own words.
    """

    size_bytes: Number
    stored_bytes: Number
    chunks: Number
    checksum: Sha256
    engine_version: Line
    position: Line = ""


class RestoreOrder(Fenced):
    """Make the data directory from a backup: a full one, then its increments from the oldest to the newest."""

    chain: tuple[BackupSource, ...]


class Backups(ABC):
    """Asked by runbooks alone, with the patience JOB: each is a job of the guest, which is found again and ended by a cancel.

    A ticket that has run out or is refused, a key that is another's, and what is damaged are errors that no retry helps.
    """

    @abstractmethod
    @activity.defn
    async def back_up(self, order: BackupOrder) -> BackupReport:
        """Store the whole backup, its manifest last; the engine serves meanwhile.

        What fails leaves objects without a manifest; the runbook deletes them.
        Errors: EngineFailed, TicketRefused, Unavailable (the store does not answer), Unsupported (no such increment).
        """

    @abstractmethod
    @activity.defn
    async def restore_data(self, order: RestoreOrder) -> GuestInfo:
        """Put the data of a backup on a volume that has none; every chunk was checked before the data counts.

        The engine must not run. It ends with the whole data directory, or without one. Then `initialise_datastore` with
        `adopts` makes the administrator's account this guest's, and `start_datastore` starts the engine.
        `engine_version` is that of the backup's engine. Errors: EngineFailed (a data directory is there, no room, the
        tool failed, the backup is damaged), TicketRefused, Unavailable, Unsupported (of another engine or series).
        """
