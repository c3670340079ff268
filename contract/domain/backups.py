"""Backups as the control plane knows them: where each one lies, and how it is."""

from enum import StrEnum
from uuid import UUID

from contract.domain.fact import Fact
from contract.domain.manifest import MANIFEST, backup_prefix


class BackupStatus(StrEnum):
    """Trove's words."""

    NEW = "NEW"
    BUILDING = "BUILDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DELETE_FAILED = "DELETE_FAILED"


RUNNING = (BackupStatus.NEW, BackupStatus.BUILDING)


class BackupPlace(Fact):
    """A container of a project's Swift: the URL of the account as the catalogue tells it, and the container's name.

    `epoch` is that of the key which the container's temporary URLs are signed with.
    """

    account_url: str
    container: str
    epoch: int = 1

    @property
    def container_url(self) -> str:
        """Where the objects are."""
        return f"{self.account_url}/{self.container}"


class NewBackup(Fact):
    """A backup to make."""

    id: UUID
    name: str
    description: str | None = None
    place: BackupPlace


class BackupFacts(Fact):
    """What runbooks know of a backup; without `key_id` and `checksum` it is not complete."""

    id: UUID
    instance_id: UUID
    project_id: str
    status: BackupStatus
    place: BackupPlace
    key_id: str = ""
    checksum: str = ""

    @property
    def prefix(self) -> str:
        """What the names of its objects begin with."""
        return backup_prefix(self.instance_id, self.id)

    @property
    def location(self) -> str:
        """The URL of its manifest."""
        return f"{self.place.container_url}/{self.prefix}{MANIFEST}"


class BackupChange(Fact):
    """What has become of a backup; None leaves the record as it is."""

    id: UUID
    status: BackupStatus
    reason: str | None = None
    key_id: str | None = None
    checksum: str | None = None
    size_bytes: int | None = None
    stored_bytes: int | None = None
    engine_version: str | None = None
    position: str | None = None


def key_name(backup_id: UUID, epoch: int) -> str:
    """What a backup's key is derived by, and found by again."""
    return f"c:backup:{backup_id}:{epoch}"
