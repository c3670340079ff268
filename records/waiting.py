"""Operations that wait for the lock of their group: shown to the tenant, and ended by a deletion."""

from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.errors import NotFound
from contract.ports.records import WaitingOrder
from records.admission import OPEN
from records.facts import facts_for
from records.requests import hold, is_admitted, never_admit, withdrawn
from records.tables import operations, waiting

_w = waiting.c


async def keep(conn: AsyncConnection, order: WaitingOrder) -> bool:
    """Note that an order waits, and for what; False when it was admitted meanwhile.

    NotFound when one of its members is gone, is being deleted, or is somebody else's.
    """
    await hold(conn, order.operation_id)
    if await is_admitted(conn, order.operation_id):
        return False
    if (await conn.execute(select(withdrawn(order.operation_id)))).scalar_one():
        raise NotFound("The instance is being deleted.")
    for instance_id in order.members:
        facts = await facts_for(conn, instance_id, order.caller, order.group_id)
    running = select(operations.c.kind).where(operations.c.group_id == order.group_id, operations.c.state == OPEN)
    kind = (await conn.execute(running)).scalar()
    values = {
        "operation_id": order.operation_id, "kind": order.kind.value, "instance_ids": list(order.members),
        "project_id": facts.project_id, "user_id": order.caller.user_id, "request_id": order.caller.request_id,
        "workflow_id": order.workflow_id, "run_id": order.run_id, "until": order.until,
        "reason": f"waiting for {kind}" if kind else None,
    }  # fmt: skip
    statement = upsert(waiting).values(values)
    changed = {"reason": statement.excluded.reason}
    await conn.execute(statement.on_conflict_do_update(index_elements=[_w.operation_id], set_=changed))
    return True


async def forget(conn: AsyncConnection, operation_id: UUID) -> None:
    """An order does not wait any more; nor do those whose run was ended from outside and whose time is over."""
    await conn.execute(delete(waiting).where((_w.operation_id == operation_id) | (_w.until < func.clock_timestamp())))


async def give_up(conn: AsyncConnection, operation_id: UUID) -> bool:
    """See to it that an order that waits is never admitted; False when it was, and then it counts."""
    await hold(conn, operation_id)
    await forget(conn, operation_id)
    if await is_admitted(conn, operation_id):
        return False
    await never_admit(conn, operation_id)
    return True
