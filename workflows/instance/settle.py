"""Runbook: put right what an operation that was ended from outside has left behind."""

from temporalio import workflow

from workflows.domain.instance import InstanceStatus
from workflows.domain.operation import OperationKind, OperationState, SettleOrder
from workflows.instance.teardown import tear_down
from workflows.ports.guest import Fenced, Lifecycle
from workflows.runbook import Runbook


@workflow.defn
class SettleInstance(Runbook):
    """Bring an instance whose operation was interrupted to a state that its owner can go on from.

    What happens is declared here, per kind: an interrupted creation is torn down and ends in ERROR, an interrupted
    deletion is completed; of the others the engine is to run, and the instance ends ACTIVE.
    """

    kind = OperationKind.SETTLE

    @workflow.run
    async def run(self, order: SettleOrder) -> str | None:
        return await self.operate(order, self.settle)

    async def settle(self) -> None:
        """What is declared for each kind of operation."""
        if self.admission.interrupted is OperationKind.CREATE:
            await tear_down(self)
            reason = "the creation was interrupted; delete the instance and create it anew"
            await self.close(OperationState.DONE, InstanceStatus.ERROR, reason=reason)
        elif self.admission.interrupted is OperationKind.DELETE:
            await tear_down(self)
            await self.close(OperationState.DONE, None, deleted=True)
        else:
            await self.guest(Lifecycle.start_datastore, Fenced(fence=self.fence))
            await self.start_watch()
            await self.close(OperationState.DONE, InstanceStatus.ACTIVE)

    async def give_up(self, error: BaseException) -> None:
        """Without its server or volume an instance is of no use; with them the watch says how it is."""
        building = self.admission.interrupted in (OperationKind.CREATE, OperationKind.DELETE)
        await self.close_failed(error, InstanceStatus.ERROR if building else InstanceStatus.ACTIVE)
