"""The ports of backups, for recordings, and what is recorded of them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from temporalio import activity

from contract.domain.accounts import Sealed
from contract.domain.backups import BackupFacts, BackupPlace, BackupStatus, NewBackup, key_name
from contract.domain.changes import BackUpOrder
from contract.domain.errors import Busy, EngineFailed, ResourceFailed, TicketRefused
from contract.domain.instance import InstanceSpec
from contract.domain.operation import AdmissionRequest, Caller, CreateOrder, OperationKind
from contract.ports.backup_objects import BackupAccess, BackupAccessOrder, BackupObjects
from contract.ports.backup_records import (
    BackupLeft,
    BackupName,
    BackupRecords,
    DeleteBackupOrder,
    Strategy,
    backup_lock_id,
)
from contract.ports.backups import BackupOrder, BackupReport, Backups, RestoreOrder
from contract.ports.guest import GuestInfo
from contract.ports.tickets import Ticket
from tests.replay.script import Script
from workflows.backup import DeleteBackup
from workflows.instance.back_up import BackUpInstance
from workflows.instance.create import CreateInstance

CALLER = Caller(project_id="project", user_id="amy", request_id="req-1")
PLACE = BackupPlace(account_url="http://swift/v1/AUTH_project", container="database_backups")
SHA256 = "0" * 64


def backup_of(instance_id: UUID, status: BackupStatus = BackupStatus.NEW) -> BackupFacts:
    """A backup of an instance."""
    return BackupFacts(id=uuid4(), instance_id=instance_id, project_id="project", status=status, place=PLACE)


def backups_of(request: AdmissionRequest, interrupted: OperationKind | None) -> dict[str, BackupFacts]:
    """What an admission says of the backups of its member."""
    member = request.members[0]
    if member.spec is not None and member.spec.backup_id is not None:
        return {"restores": backup_of(uuid4(), BackupStatus.COMPLETED).model_copy(update={"checksum": SHA256})}
    if OperationKind.BACKUP in (request.kind, interrupted):
        return {"backup": backup_of(member.instance_id)}
    return {}


class PlainBackups(Backups):
    """A guest that stores and restores at once."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    async def back_up(self, order: BackupOrder) -> BackupReport:
        self._script.play()
        return BackupReport(size_bytes=2**20, stored_bytes=2**10, chunks=1, checksum=SHA256, engine_version="15.1")

    @activity.defn
    async def restore_data(self, order: RestoreOrder) -> GuestInfo:
        self._script.play()
        return GuestInfo(guest_version="0", engine_version="15.1")


class PlainObjects(BackupObjects):
    """An object store that has everything."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    def open_backup(self, order: BackupAccessOrder) -> BackupAccess:
        self._script.play()
        sealed = Sealed(sealed="1.x")
        ticket = Ticket(
            prefix=order.backup.prefix, right=order.right, expires=datetime(2030, 1, 1, tzinfo=UTC), opens=sealed
        )
        return BackupAccess(ticket=ticket, key=sealed, key_id=key_name(order.backup.id, 1))

    @activity.defn
    def check_backup(self, backup: BackupFacts) -> None:
        self._script.play()

    @activity.defn
    def delete_backup(self, backup: BackupFacts) -> None:
        self._script.play()


class PlainBackupRecords(BackupRecords):
    """Records that have every backup."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    async def begin_deletion(self, which: BackupName) -> BackupFacts:
        self._script.play()
        return backup_of(uuid4(), BackupStatus.COMPLETED)

    @activity.defn
    async def forget_backup(self, backup_id: UUID) -> None:
        self._script.play()

    @activity.defn
    async def keep_backup(self, left: BackupLeft) -> None:
        self._script.play()

    @activity.defn
    async def set_strategy(self, strategy: Strategy) -> None:
        self._script.play()

    @activity.defn
    async def remove_strategy(self, strategy: Strategy) -> None:
        self._script.play()


async def backups(stage: Any) -> None:
    """A backup; one that the engine does not make; and one of which something is left in the store."""
    async with stage.guest() as instance_id:
        for name, refusals in (
            ("backup", {}),
            ("backup-failed", {"back_up": EngineFailed("the engine does not")}),
            (
                "backup-left",
                {"check_backup": ResourceFailed("an object is missing"), "delete_backup": TicketRefused("no key")},
            ),
        ):
            for step, error in refusals.items():
                stage.script.refuse(step, error)
            new = NewBackup(id=uuid4(), name="b", place=PLACE)
            order = BackUpOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, backup=new)
            handle = await stage.operate(BackUpInstance, order)
            await stage.keep(name, handle, "failed" if refusals else "completed")


async def restore(stage: Any) -> None:
    """A creation from a backup."""
    async with stage.guest() as instance_id:
        spec = InstanceSpec(name="db", datastore="postgresql", flavor="m1.tiny", volume_gib=1, backup_id=uuid4())
        order = CreateOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, spec=spec)
        await stage.keep("create-from-backup", await stage.operate(CreateInstance, order), "completed")


async def deletions_of_backups(stage: Any) -> None:
    """A deletion; one that is refused; and one that is not completed."""
    for name, step, error, ends in (
        ("delete-backup", "", None, "completed"),
        ("delete-backup-refused", "begin_deletion", Busy("it is running"), "completed"),
        ("delete-backup-failed", "delete_backup", TicketRefused("no key"), "failed"),
    ):
        if error is not None:
            stage.script.refuse(step, error)
        backup_id = uuid4()
        order = DeleteBackupOrder(id=backup_id, caller=CALLER)
        await stage.keep(name, await stage.start(DeleteBackup, order, backup_lock_id(backup_id)), ends)


SCENES = (backups, restore, deletions_of_backups)
