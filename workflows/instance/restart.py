"""Runbook: restart the database engine of one instance."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.domain.instance import InstanceStatus
from workflows.domain.operation import OperationKind, OperationState, RestartOrder
from workflows.ports.guest import Fenced, Lifecycle
from workflows.runbook import Runbook
from workflows.steps import lost_fence


@workflow.defn
class RestartInstance(Runbook):
    """End with the engine running on its data.

    The stop is the point of no return: a cancel before it leaves everything as it was, after it the engine is started.
    A failure leaves the guest told to start the engine, and ERROR where it could not.
    """

    kind = OperationKind.RESTART

    @workflow.run
    async def run(self, order: RestartOrder) -> None:
        await self.open(order)
        try:
            await self.restart()
        except FailureError as error:
            if lost_fence(error):
                raise
            await self.close_failed(error)
        await self.finish()

    async def restart(self) -> None:
        """Stop and start; whatever becomes of the stop, the start is asked for."""
        if workflow.cancellation_reason() is not None:
            await self.close(OperationState.CANCELLED, InstanceStatus.ACTIVE, reason="the restart was cancelled")
            return
        told = Fenced(fence=self.fence)
        try:
            await self.guest(Lifecycle.stop_datastore, told)
        except (FailureError, asyncio.CancelledError) as error:
            if lost_fence(error):
                raise
            await self.guest(Lifecycle.start_datastore, told)
            raise
        await self.guest(Lifecycle.start_datastore, told)
        await self.close(OperationState.DONE, InstanceStatus.ACTIVE)
