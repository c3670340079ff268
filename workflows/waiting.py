"""An order that waits for the lock of its group: its run starts the same runbook under the lock as soon as that is free."""

import asyncio
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.errors import Busy, Refused, innermost
from contract.domain.operation import OperationKind, Order
from contract.names import RECORDS, lock_id, waiting_id
from contract.ports.records import Locks, WaitingOrder
from workflows.steps import SURE, Patience, Steps, legible

# tried again and again until the limit
QUEUE = Patience(attempts=0, interval_seconds=0.5, longest_seconds=5, growth=1.5, once_more=False)


async def start_when_free(kind: OperationKind, operation_id: UUID, order: Order, until: datetime) -> None:
    """Have the order admitted under the lock, until then.

    Raises its refusal, Busy when the time is over, CancelledError when nobody wants it any more: then it never happens.
    """
    info, lock = workflow.info(), lock_id(order.group)
    if info.workflow_id != waiting_id(operation_id):
        raise Refused(f"an order that waits must run under the workflow id {waiting_id(operation_id)}")
    left = (until - workflow.now()).total_seconds()
    if left <= 0:
        raise Busy("the time in which the operation could wait is over; nothing was touched")
    workflow.set_current_details(f"waiting for the lock {lock}, until {until.isoformat(timespec='seconds')}")
    told = order.model_copy(update={"operation_id": operation_id, "waits_until": None, "expires_at": until})
    waiting = WaitingOrder(kind=kind, operation_id=operation_id, members=order.members, group_id=order.group,
                           caller=order.caller, until=until, workflow_id=info.workflow_id, run_id=info.run_id,
                           runbook=info.workflow_type, order=told.model_dump(mode="json"))  # fmt: skip
    steps = Steps()
    steps.may_stop = True
    try:
        await steps.ask(RECORDS, replace(QUEUE, total_seconds=left), Locks.start_when_free, waiting)
    except (FailureError, asyncio.CancelledError) as error:
        if await Steps().ask(RECORDS, SURE, Locks.stop_waiting, waiting):
            if isinstance(error, asyncio.CancelledError) or getattr(innermost(error), "non_retryable", False):
                raise
            raise _over(error, order.members[0], until) from None
    workflow.set_current_details(f"began under {lock}")


def _over(error: BaseException, instance_id: UUID, until: datetime) -> Busy:
    last = legible(str(getattr(innermost(error), "message", "") or "no answer in time"))
    return Busy(f"Instance {instance_id} is not currently available for an action to be performed "
                f"(waited until {until.isoformat(timespec='seconds')}: {last}).")  # fmt: skip
