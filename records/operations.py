"""Following and closing operations; every write is conditional on the operation being open under its fence number."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from records import quotas
from records.admission import OPEN, end_operation
from records.tables import instances, operation_steps, operations
from workflows.domain.errors import FenceLost
from workflows.domain.instance import GuestState, HealthReport, InstanceStatus, OperatingStatus
from workflows.domain.operation import Close, Learnt, OperationKind, OperationState, StepNote

NOW = func.clock_timestamp()
SETTLED = timedelta(seconds=10)


async def note_step(conn: AsyncConnection, note: StepNote) -> None:
    """Write the end of one step and the beginning of the next; a repeated note changes nothing."""
    instance_id = await require_open(conn, note.operation_id, note.fence)
    steps = operation_steps.c
    mine = steps.operation_id == note.operation_id
    if note.begins is not None and (await conn.execute(
        select(steps.number).where(mine, steps.name == note.begins, steps.finished.is_(None))
    )).first():  # fmt: skip
        return
    if note.ended is not None:
        ended = update(operation_steps).where(mine, steps.name == note.ended, steps.finished.is_(None))
        outcome = OperationState.FAILED if note.failed else OperationState.DONE
        await conn.execute(ended.values(finished=NOW, outcome=outcome.value))
    if note.begins is not None:
        number = select(func.coalesce(func.max(steps.number), 0) + 1).where(mine).scalar_subquery()
        values = {"operation_id": note.operation_id, "number": number, "name": note.begins}
        await conn.execute(insert(operation_steps).values(values))
    if note.learnt is not None:
        await _learn(conn, instance_id, note.learnt)


async def require_open(conn: AsyncConnection, operation_id: UUID, fence: int) -> UUID:
    """Lock the operation's row for this transaction; FenceLost when it is closed or has another number."""
    statement = select(operations.c.instance_id).where(
        operations.c.id == operation_id, operations.c.fence == fence, operations.c.state == OPEN
    )
    row = (await conn.execute(statement.with_for_update())).one_or_none()
    if row is None:
        raise FenceLost(f"operation {operation_id} is closed; a newer one has taken over")
    instance_id: UUID = row.instance_id
    return instance_id


async def _learn(conn: AsyncConnection, instance_id: UUID, learnt: Learnt) -> None:
    values = learnt.model_dump(mode="json", exclude_none=True)
    await conn.execute(update(instances).where(instances.c.id == instance_id).values(**values, updated=NOW))


async def close(conn: AsyncConnection, word: Close) -> None:
    """Write the last word; a repeated one changes nothing."""
    statement = select(operations).where(operations.c.id == word.operation_id).with_for_update()
    row = (await conn.execute(statement)).one_or_none()
    if row is None or row.fence != word.fence:
        raise FenceLost(f"operation {word.operation_id} does not have the number {word.fence}")
    if row.state != OPEN:
        if row.state == word.state.value:
            return
        raise FenceLost(f"operation {word.operation_id} is closed as {row.state}")
    await end_operation(conn, row.id, word.state, word.reason)
    undone = word.status is InstanceStatus.ERROR and _builds(row.kind, row.interrupted)
    await conn.execute(
        update(instances).where(instances.c.id == row.instance_id).values(**_final(word, nothing_left=undone))
    )
    if word.deleted or undone:
        await quotas.release(conn, row.instance_id)


def _builds(kind: str, interrupted: str | None) -> bool:
    """Whether a failed end means that the instance never came to be: its resources are gone and its quota is free."""
    return OperationKind.CREATE.value in (kind, interrupted)


def _final(word: Close, *, nothing_left: bool) -> dict[str, object]:
    values: dict[str, object] = {"updated": NOW, **_fault(word)}
    if word.status is not None:
        values |= {"status": word.status.value}
    if word.status is InstanceStatus.ERROR:  # nobody watches it any more: what was last seen does not count
        values |= {"operating_status": OperatingStatus.NONE.value, "operating_status_reason": None}
    if nothing_left or word.deleted:
        values |= {"server_id": None, "volume_id": None, "port_id": None, "addresses": []}
        values |= {"operating_status": OperatingStatus.NONE.value, "operating_status_reason": None}
    if word.deleted:
        values |= {"deleted": True, "deleted_at": NOW, "status": InstanceStatus.SHUTDOWN.value}
    return values


def _fault(word: Close) -> dict[str, object]:
    """Keep why the last operation failed; a good end clears it, and so does the engine's health."""
    if word.status is InstanceStatus.ERROR or word.state is OperationState.FAILED:
        return {"fault_message": word.reason, "fault_created": NOW}
    if word.state is OperationState.DONE:
        return {"fault_message": None, "fault_created": None}
    return {}


async def record_health(conn: AsyncConnection, report: HealthReport) -> None:
    """Keep the watch's word on an instance that exists and was built."""
    values: dict[str, object] = {
        "operating_status": report.operating_status.value,
        "operating_status_reason": report.reason,
        "service_status_updated": NOW,
    }
    known = report.model_dump(include={"volume_used_bytes", "volume_total_bytes", "guest_version"}, exclude_none=True)
    where = (instances.c.id == report.instance_id, ~instances.c.deleted, instances.c.server_id.is_not(None))
    await conn.execute(update(instances).where(*where).values(**values, **known))
    if report.operating_status is OperatingStatus.HEALTHY:
        await heal(conn, report.instance_id)


async def heal(conn: AsyncConnection, instance_id: UUID | None = None) -> None:
    """Set back to ACTIVE what is in ERROR and yet serves: one instance, or all that nothing happened to of late."""
    i, o = instances.c, operations.c
    busy = exists().where(o.instance_id == i.id, o.state == OPEN)
    serves = (~i.deleted, i.server_id.is_not(None), i.operating_status == OperatingStatus.HEALTHY.value, ~busy)
    which = i.id == instance_id if instance_id else i.updated < NOW - SETTLED
    better = {"status": InstanceStatus.ACTIVE.value, "updated": NOW}
    await conn.execute(update(instances).where(*serves, which, i.status == InstanceStatus.ERROR.value).values(better))
    good = {"fault_message": None, "fault_created": None}
    told = (i.fault_message.is_not(None), i.status == InstanceStatus.ACTIVE.value)
    await conn.execute(update(instances).where(*serves, which, *told).values(good))


async def guest_state(conn: AsyncConnection, instance_id: UUID) -> GuestState:
    """Return what the watch last wrote of an instance that exists and is not being deleted."""
    i = instances.c
    statement = select(i.status, i.deleted, i.operating_status, i.operating_status_reason).where(i.id == instance_id)
    row = (await conn.execute(statement)).one_or_none()
    if row is None or row.deleted or row.status == InstanceStatus.SHUTDOWN.value:
        return GuestState(exists=False)
    return GuestState(exists=True, operating_status=OperatingStatus(row.operating_status),
                      reason=row.operating_status_reason)  # fmt: skip
