"""The port `Locks`: starting an order under the lock of its group as soon as that is free."""

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio import activity
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from contract.domain.errors import REFUSALS, NotYet, innermost
from contract.names import RUNBOOKS, lock_id
from contract.ports.records import Locks, WaitingOrder
from contract.wire.clear_text import ClearText
from records import waiting
from records.engine import AsyncEngine


@dataclass(frozen=True)
class TemporalLocks(Locks):
    """The lock is the workflow id; who waits is noted in the records."""

    client: Client
    engine: AsyncEngine

    @activity.defn
    async def start_when_free(self, order: WaitingOrder) -> None:
        async with self.engine.begin() as conn:
            waits = await waiting.keep(conn, order)
        if waits:
            await self._start(order)
        async with self.engine.begin() as conn:
            await waiting.forget(conn, order.operation_id)

    async def _start(self, order: WaitingOrder) -> None:
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            order.runbook,
            order.order,
            id=lock_id(order.group_id),
            task_queue=RUNBOOKS,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=ClearText(f"{order.kind.value.replace('_', ' ')}, after it has waited"),
        )
        # asyncio logs a failure that nobody looks at: that of the call is the same
        heard = asyncio.ensure_future(start.workflow_handle())
        heard.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            await self.client.execute_update_with_start_workflow("admitted", start_workflow_operation=start)
        except WorkflowAlreadyStartedError:
            raise NotYet("another operation is running") from None
        except WorkflowUpdateFailedError as refused:
            cause = innermost(refused.cause)
            if isinstance(cause, ApplicationError) and cause.type in REFUSALS - {"Busy"}:
                raise cause from None
            raise NotYet(str(cause)) from None  # the records are away, or what was interrupted is being put right
        finally:
            heard.cancel()

    @activity.defn
    async def stop_waiting(self, order: WaitingOrder) -> bool:
        async with self.engine.begin() as conn:
            return await waiting.give_up(conn, order.operation_id)
