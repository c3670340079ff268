"""Runbook: restart the database engine of one instance."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError
from temporalio.exceptions import TimeoutError as StepTimedOut

from workflows.domain.errors import EngineFailed, innermost
from workflows.domain.instance import InstanceStatus
from workflows.domain.operation import OperationKind, OperationState, RestartOrder
from workflows.ports.guest import Fenced, Lifecycle
from workflows.runbook import Runbook
from workflows.steps import lost_fence


@workflow.defn
class RestartInstance(Runbook):
    """End with the engine running on its data.

    The stop is the point of no return: a cancel before it leaves everything as it was, after it the engine is started.
    A failure leaves the guest told to start the engine.
    """

    kind = OperationKind.RESTART

    @workflow.run
    async def run(self, order: RestartOrder) -> str | None:
        return await self.operate(order, self.restart)

    async def restart(self) -> None:
        """Stop and start; whatever becomes of the stop, the start is asked for."""
        self.steps.may_stop = True
        await self.require_guest()
        self.steps.may_stop = False
        told = Fenced(fence=self.fence)
        try:
            await self.guest(Lifecycle.stop_datastore, told)
        except FailureError as error:
            if not lost_fence(error):
                await self.guest(Lifecycle.start_datastore, told)
            raise
        await self.guest(Lifecycle.start_datastore, told)
        await self.close(OperationState.DONE, InstanceStatus.ACTIVE)

    async def require_guest(self) -> None:
        """A guest that is away is told before anything was stopped."""
        try:
            await self.health()
        except ActivityError as error:
            if not isinstance(innermost(error), StepTimedOut):
                raise
            raise EngineFailed("the guest does not answer; nothing was stopped") from None
