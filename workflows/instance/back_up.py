"""Runbook: back up one instance."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.backups import BackupChange, BackupFacts, BackupStatus
from contract.domain.changes import BackUpOrder
from contract.domain.instance import InstanceStatus
from contract.domain.operation import MemberRequest, OperationKind
from contract.ports.backup_objects import BackupAccessOrder, BackupObjects
from contract.ports.backups import BackupOrder, BackupReport, Backups
from contract.ports.guest import CallGate, Fenced
from contract.ports.tickets import Right
from workflows.instance.teardown import drop_backup
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import JOB, lost_fence, sentence


@workflow.defn
class BackUpInstance(Runbook):
    """End with a backup that can be restored, or with none: then nothing of it is left in the object store.

    The engine serves meanwhile.
    """

    kind = OperationKind.BACKUP

    @workflow.run
    async def run(self, order: BackUpOrder) -> str | None:
        return await self.operate(order, self.back_up)

    async def open(self, order: BackUpOrder) -> None:
        """Lock, and have the backup written down with the admission."""
        self.lock(order)
        await self.admit(order, MemberRequest(instance_id=order.instance_id, backup=order.backup))

    async def back_up(self) -> End:
        """Store, then look at what is stored."""
        member, backup = self.member, self.backup
        member.learn(backup=BackupChange(id=backup.id, status=BackupStatus.BUILDING))
        await member.require_guest()
        order = BackupAccessOrder(backup=backup, reader_id=member.id, right=Right.WRITE)
        access = await member.cloud(BackupObjects.open_backup, order)
        wanted = BackupOrder(backup_id=backup.id, ticket=access.ticket, key=access.key, key_id=access.key_id)
        report = await member.guest(Backups.back_up, wanted, JOB)
        stored = backup.model_copy(update={"checksum": report.checksum})
        await member.cloud(BackupObjects.check_backup, stored)
        self.steps.point_of_no_return()
        member.learn(backup=_completed(backup, access.key_id, report))
        return End(InstanceStatus.ACTIVE)

    @property
    def backup(self) -> BackupFacts:
        """The backup that is made."""
        assert self.member.backup is not None  # noqa: S101 - the admission has written it down
        return self.member.backup

    async def give_up(self, error: BaseException) -> End:
        """Leave nothing of it."""
        why = "the backup was cancelled" if isinstance(error, asyncio.CancelledError) else sentence(error)
        await drop_backup(self.member, why)
        return End(InstanceStatus.ACTIVE, why)

    @staticmethod
    async def settle(member: Member) -> End:
        """Leave nothing of it. A guest that is there ends its job as soon as this operation asks it for anything."""
        try:
            await member.guest(CallGate.open_gate, Fenced())
        except FailureError as error:
            if lost_fence(error):
                raise
        await drop_backup(member, "the backup was interrupted")
        return End(InstanceStatus.ACTIVE)


def _completed(backup: BackupFacts, key_id: str, report: BackupReport) -> BackupChange:
    return BackupChange(
        id=backup.id,
        status=BackupStatus.COMPLETED,
        key_id=key_id,
        checksum=report.checksum,
        size_bytes=report.size_bytes,
        stored_bytes=report.stored_bytes,
        engine_version=report.engine_version,
        position=report.position,
    )
