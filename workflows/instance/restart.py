"""Runbook: restart the database engine of one instance."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.domain.instance import InstanceStatus
from workflows.domain.operation import OperationKind, OperationState, RestartOrder
from workflows.ports.guest import Fenced, Lifecycle
from workflows.runbook import Runbook
from workflows.steps import is_type, sentence


@workflow.defn
class RestartInstance(Runbook):
    """End with the engine running on its data.

    The stop is the point of no return: a cancel before it leaves everything as it was, after it the engine is started.
    A failure leaves the guest told to start the engine, and ERROR where it could not.
    """

    kind = OperationKind.RESTART

    @workflow.run
    async def run(self, order: RestartOrder) -> None:
        try:
            self.lock(order)
            await self.admit(order)
        except FailureError:
            await self.all_answered()
            raise
        try:
            await self.restart()
        except FailureError as error:
            if is_type(error, "FenceLost"):
                raise
            await self.close(OperationState.FAILED, InstanceStatus.ERROR, reason=sentence(error))
        await self.all_answered()

    async def restart(self) -> None:
        """Stop and start; whatever becomes of the stop, the start is asked for."""
        if workflow.cancellation_reason() is not None:
            await self.close(OperationState.CANCELLED, InstanceStatus.ACTIVE, reason="the restart was cancelled")
            return
        told = Fenced(fence=self.fence)
        try:
            await self.guest(Lifecycle.stop_datastore, told)
        except (FailureError, asyncio.CancelledError) as error:
            if is_type(error, "FenceLost"):
                raise
            await self.guest(Lifecycle.start_datastore, told)
            raise
        await self.guest(Lifecycle.start_datastore, told)
        await self.close(OperationState.DONE, InstanceStatus.ACTIVE)
