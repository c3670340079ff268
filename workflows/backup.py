"""Runbook: delete a backup."""

from temporalio import workflow
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError

from contract.domain.backups import BackupFacts
from contract.domain.errors import REFUSALS, Expired, Refused, innermost
from contract.names import CLOUD, RECORDS
from contract.ports.backup_objects import BackupObjects
from contract.ports.backup_records import BackupLeft, BackupRecords, DeleteBackupOrder, backup_lock_id
from workflows.steps import POLL_LONG, PROMPT, SURE, Steps, sentence, until


@workflow.defn
class DeleteBackup:
    """End with the objects and the record gone, or with a record that says why not: then it can be deleted again.

    Under the id of the backup's lock. From the first write on it only goes forward.
    """

    def __init__(self) -> None:
        self._found: BackupFacts | None = None
        self._refusal: ApplicationError | None = None

    @workflow.run
    async def run(self, order: DeleteBackupOrder) -> str | None:
        try:
            await self._open(order)
        except FailureError as error:
            return await self._refused(error)
        return await self._delete(order)

    @workflow.update
    async def begun(self) -> None:
        """Wait until nobody can restore from it any more; fails with the refusal."""
        await workflow.wait_condition(lambda: self._found is not None or self._refusal is not None)
        if self._refusal is not None:
            raise self._refusal

    async def _open(self, order: DeleteBackupOrder) -> None:
        if workflow.info().workflow_id != backup_lock_id(order.id):
            raise Refused(f"must run under the workflow id {backup_lock_id(order.id)}")
        if order.expires_at is not None and workflow.now() > order.expires_at:
            raise Expired("the caller has stopped waiting; nothing was deleted")
        self._found = await Steps().ask(RECORDS, PROMPT, BackupRecords.begin_deletion, order.name)

    async def _refused(self, error: FailureError) -> str:
        """Tell whoever waits, and end as what was refused; what was no refusal has failed."""
        cause = innermost(error)
        if not (isinstance(cause, ApplicationError) and cause.type in REFUSALS):
            cause = ApplicationError("the deletion could not be begun in time", type="Unavailable")
        benign = ApplicationErrorCategory.BENIGN
        self._refusal = ApplicationError(cause.message, type=cause.type, non_retryable=True, category=benign)
        await until(workflow.all_handlers_finished)
        if cause.type == "Unavailable":
            raise self._refusal
        workflow.set_current_details(f"refused: {cause.message}")
        return f"refused: {cause.message}"

    async def _delete(self, order: DeleteBackupOrder) -> str | None:
        assert self._found is not None  # noqa: S101 - it was opened
        left = None
        try:
            if not order.objects_gone:
                await Steps().ask(CLOUD, POLL_LONG, BackupObjects.delete_backup, self._found)
            await Steps().ask(RECORDS, SURE, BackupRecords.forget_backup, order.id)
        except FailureError as error:
            left = sentence(error)
            await Steps().ask(RECORDS, SURE, BackupRecords.keep_backup, BackupLeft(id=order.id, reason=left))
        await until(workflow.all_handlers_finished)
        if left is not None:
            raise ApplicationError(left, type="ResourceFailed", non_retryable=True)
        return None
