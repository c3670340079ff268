"""Starting a runbook and waiting for its admission, in one call."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.context import Asker, Means
from api.faults import Fault, of_refusal, unavailable
from records.reads import Reader
from workflows.domain.errors import innermost
from workflows.domain.instance import InstanceSpec
from workflows.domain.operation import CreateOrder, DeleteOrder, Order, RestartOrder
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.restart import RestartInstance
from workflows.names import RUNBOOKS, lock_id
from workflows.runbook import Runbook

# the SDK's types do not fit updates of a base class
DELETE: Any = Runbook.delete
ADMITTED: Any = Runbook.admitted
GAP_LOOKS, GAP_PAUSE = 40, 0.05  # two seconds
MARGIN = 2.0  # seconds that we wait beyond the expiry: whoever was admitted in time is answered


@dataclass(frozen=True)
class Operations:
    """Opens operations for one caller."""

    temporal: Client
    reader: Reader
    seconds: float
    asker: Asker

    async def create(self, instance_id: UUID, spec: InstanceSpec) -> None:
        """Order an instance; return once it is admitted."""
        order = CreateOrder(instance_id=instance_id, spec=spec, **self._frame())
        await self._open(CreateInstance, order, f"create {spec.name}")

    async def restart(self, instance_id: UUID, group_id: UUID) -> None:
        """Order a restart."""
        order = RestartOrder(instance_id=instance_id, group_id=group_id, **self._frame())
        await self._open(RestartInstance, order, "restart")

    async def delete(self, instance_id: UUID, group_id: UUID) -> None:
        """Order a deletion; a creation that runs makes way for it."""
        order = DeleteOrder(instance_id=instance_id, group_id=group_id, **self._frame())
        await self._open(DeleteInstance, order, "delete")

    def _frame(self) -> dict[str, Any]:
        return {
            "caller": self.asker.caller(),
            "operation_id": uuid4(),
            "expires_at": datetime.now(UTC) + timedelta(seconds=self.seconds),
        }

    async def _open(self, runbook: Any, order: Order, summary: str) -> None:
        try:
            await asyncio.wait_for(self._start_when_free(runbook, order, summary), self.seconds + MARGIN)
        except (WorkflowUpdateFailedError, WorkflowFailureError) as error:
            cause = innermost(error.cause)
            if isinstance(cause, ApplicationError):
                raise of_refusal(cause) from None
            await self._recorded_or_unavailable(order)
        except (RPCError, TimeoutError) as error:
            await self._recorded_or_unavailable(order, error)

    async def _start_when_free(self, runbook: Any, order: Order, summary: str) -> None:
        """The records close an operation a moment before its run ends: in between, nobody is busy, and we wait."""
        for _ in range(GAP_LOOKS):
            try:
                return await self._start(runbook, order, summary)
            except WorkflowAlreadyStartedError:
                await self._refuse_busy(order)
            await asyncio.sleep(GAP_PAUSE)
        raise unavailable()

    async def _start(self, runbook: Any, order: Order, summary: str) -> None:
        deleting = runbook is DeleteInstance
        policy = WorkflowIDConflictPolicy.USE_EXISTING if deleting else WorkflowIDConflictPolicy.FAIL
        start = WithStartWorkflowOperation(
            runbook.run,
            order,
            id=lock_id(order.group),
            task_queue=RUNBOOKS,
            id_conflict_policy=policy,
            static_summary=summary,
        )
        if isinstance(order, DeleteOrder):
            await self.temporal.execute_update_with_start_workflow(
                DELETE, order, start_workflow_operation=start, id=str(order.operation_id)
            )
        else:
            await self.temporal.execute_update_with_start_workflow(
                ADMITTED, start_workflow_operation=start, id=str(order.operation_id)
            )

    async def _refuse_busy(self, order: Order) -> None:
        """422 naming the operation that runs, if there is one."""
        running = await self.reader.open_operation(order.group)
        if running is None:
            return
        raise Fault(422, f"Instance {order.instance_id} is not currently available for an action to be performed "
                         f"(operation {running.kind} is running).")  # fmt: skip

    async def _recorded_or_unavailable(self, order: Order, error: Exception | None = None) -> None:
        """Nobody answered in time: what the records say counts."""
        assert order.operation_id is not None  # noqa: S101 - the frame above
        recorded = None
        with contextlib.suppress(TimeoutError):
            recorded = await self.reader.get_operation(order.operation_id)
        if recorded is None:
            raise unavailable() from error


def operations_of(means: Means, asker: Asker) -> Operations:
    """The operations that a caller may open."""
    return Operations(means.temporal, means.reader, means.settings.admission_seconds, asker)


async def cancel(temporal: Client, workflow_id: str, run_id: str) -> None:
    """Ask exactly this run to stop; content when it has ended."""
    try:
        await temporal.get_workflow_handle(workflow_id, run_id=run_id).cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
