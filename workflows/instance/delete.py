"""Runbook: delete one instance."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.domain.operation import Admission, DeleteOrder, OperationKind, OperationState
from workflows.instance.teardown import tear_down
from workflows.runbook import Runbook
from workflows.steps import lost_fence, sentence


@workflow.defn
class DeleteInstance(Runbook):
    """Leave nothing of an instance: server, volume, port, groups, quota.

    The admission is the point of no return: from there it only goes forward, whatever is cancelled. When patience ends
    the instance is in ERROR, the reason says what is left, and deleting again works.
    """

    kind = OperationKind.DELETE

    @workflow.run
    async def run(self, order: DeleteOrder) -> None:
        await self.open(order)
        try:
            await tear_down(self)
            await self.close(OperationState.DONE, None, deleted=True)
        except FailureError as error:
            if lost_fence(error):
                raise
            reason = f"not everything could be deleted: {sentence(error)}; delete the instance again"
            await self.close_failed(error, reason)
        await self.finish()

    def may_be_deleted(self) -> bool:
        """A second deletion is content with the first."""
        return True

    async def accept_deletion(self, order: DeleteOrder) -> Admission:
        """Answer with the deletion that runs."""
        return await self.answer()
