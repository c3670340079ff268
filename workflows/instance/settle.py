"""Runbook: put right what an operation that was ended from outside has left behind."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.domain.instance import InstanceStatus, OperatingStatus
from workflows.domain.operation import OperationKind, OperationState, SettleOrder
from workflows.instance.teardown import tear_down
from workflows.ports.guest import Fenced, Lifecycle
from workflows.runbook import Runbook
from workflows.steps import lost_fence


@workflow.defn
class SettleInstance(Runbook):
    """Bring an instance whose operation was interrupted to a state that its owner can go on from.

    What happens is declared here, per kind: an interrupted creation is torn down and ends in ERROR, an interrupted
    deletion is completed; of the others the guest is asked, and the instance ends ACTIVE, or in ERROR if that fails.
    """

    kind = OperationKind.SETTLE

    @workflow.run
    async def run(self, order: SettleOrder) -> None:
        admission = await self.open(order)
        try:
            await self.settle(admission.interrupted)
        except FailureError as error:
            if lost_fence(error):
                raise
            await self.close_failed(error)
        await self.finish()

    async def settle(self, interrupted: OperationKind | None) -> None:
        """What is declared for each kind of operation."""
        if interrupted is OperationKind.CREATE:
            await tear_down(self)
            reason = "the creation was interrupted; delete the instance and create it anew"
            await self.close(OperationState.DONE, InstanceStatus.ERROR, reason=reason)
        elif interrupted is OperationKind.DELETE:
            await tear_down(self)
            await self.close(OperationState.DONE, None, deleted=True)
        else:
            await self.ask_the_guest()

    async def ask_the_guest(self) -> None:
        """The engine is to run; healthy or not is then the guest's word."""
        await self.guest(Lifecycle.start_datastore, Fenced(fence=self.fence))
        health = await self.health()
        await self.start_watch()
        healthy = health.operating_status is OperatingStatus.HEALTHY
        reason = None if healthy else f"the database is {health.operating_status.value} after an interrupted operation"
        status = InstanceStatus.ACTIVE if healthy else InstanceStatus.ERROR
        await self.close(OperationState.DONE, status, reason=reason)
