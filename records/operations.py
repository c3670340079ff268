"""Following and closing operations; every write is conditional on the operation being open under its fence number."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, case, func, null, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.errors import FenceLost, Refused
from contract.domain.instance import GuestState, HealthReport, InstanceStatus, OperatingStatus
from contract.domain.operation import CloseOperation, MemberEnd, OperationState, ResourceChanges, StepsNote
from contract.domain.resources import ResourceKind
from records import backups, quotas, resources
from records.admission import OPEN, adjust_charge, end_operation, is_worked_on, members_of
from records.tables import instances, operation_steps, operations

NOW = func.clock_timestamp()
SETTLED = timedelta(seconds=10)
STOPPED = "the instance was stopped; a restart starts it"


async def note_steps(conn: AsyncConnection, note: StepsNote) -> None:
    """Write what is new of an operation's steps and of what they found out; a repeated note changes nothing."""
    members = await require_open(conn, note.operation_id, note.fence)
    await _keep(conn, members, note)


async def _keep(conn: AsyncConnection, members: dict[UUID, Row[Any]], note: StepsNote) -> None:
    for step in note.steps:
        end = {"finished": step.ended, "outcome": step.outcome.value if step.outcome else None}
        values = {"operation_id": note.operation_id, "number": step.number, "name": step.name, "started": step.began,
                  "instance_id": step.instance_id}  # fmt: skip
        key = ["operation_id", "number"]
        await conn.execute(
            upsert(operation_steps).values(**values, **end).on_conflict_do_update(index_elements=key, set_=end)
        )
    for learnt in note.learnt:
        require_member(members, learnt.instance_id)
        await _learn(conn, learnt)


async def _learn(conn: AsyncConnection, learnt: ResourceChanges) -> None:
    await resources.learn(conn, learnt)
    if learnt.backup is not None:
        await backups.learn(conn, learnt.instance_id, learnt.backup)
    kept = {"addresses", "flavor", "access", "restart_required", "volume_gib"}
    values: dict[str, Any] = learnt.model_dump(mode="json", include=kept, exclude_none=True)
    if learnt.flavor is not None:
        values["flavor_id"] = learnt.flavor.id
    if learnt.attachment is not None:
        values["configuration_id"] = learnt.attachment.configuration_id
    if learnt.configured is not None:
        values["configured"] = learnt.configured
    if learnt.version_id is not None:
        values["datastore_version_id"] = learnt.version_id
    if learnt.tls is not None:
        before = learnt.tls.before
        values["tls"] = learnt.tls.now.model_dump(mode="json")
        values["tls_before"] = null() if before is None else before.model_dump(mode="json")
    await conn.execute(update(instances).where(instances.c.id == learnt.instance_id).values(**values, updated=NOW))


def require_member(members: dict[UUID, Row[Any]], instance_id: UUID) -> None:
    """Refuse an operation that speaks of an instance it was not admitted on."""
    if instance_id not in members:
        raise Refused(f"the operation does not work on instance {instance_id}")


async def require_open(conn: AsyncConnection, operation_id: UUID, fence: int) -> dict[UUID, Row[Any]]:
    """Lock the operation's row for this transaction; FenceLost when it is closed or has another number."""
    statement = select(operations.c.id).where(
        operations.c.id == operation_id, operations.c.fence == fence, operations.c.state == OPEN
    )
    if (await conn.execute(statement.with_for_update())).one_or_none() is None:
        raise FenceLost(f"operation {operation_id} is closed; a newer one has taken over")
    return await members_of(conn, operation_id)


async def close(conn: AsyncConnection, word: CloseOperation) -> None:
    """Write the last word; a repeated one changes nothing."""
    statement = select(operations).where(operations.c.id == word.operation_id).with_for_update()
    row = (await conn.execute(statement)).one_or_none()
    if row is None or row.fence != word.fence:
        raise FenceLost(f"operation {word.operation_id} does not have the number {word.fence}")
    if row.state != OPEN:
        if row.state == word.state.value:
            return
        raise FenceLost(f"operation {word.operation_id} is closed as {row.state}")
    members = await members_of(conn, row.id)
    await _keep(conn, members, word)
    await end_operation(conn, row.id, word.state, word.reason)
    for end in word.ends:
        require_member(members, end.instance_id)
        await _leave(conn, members[end.instance_id], word, end)
        await adjust_charge(conn, row.kind, members[end.instance_id])


async def _leave(conn: AsyncConnection, member: Row[Any], word: CloseOperation, end: MemberEnd) -> None:
    """Write what the operation leaves of a member; of one that was not built to its end nothing is left."""
    nothing_left = end.deleted or (end.status is InstanceStatus.ERROR and member.builds)
    final = _final(word, end, nothing_left=nothing_left)
    await conn.execute(update(instances).where(instances.c.id == end.instance_id).values(**final))
    if nothing_left:
        await resources.forget(conn, end.instance_id)
        await quotas.release(conn, end.instance_id)


def _final(word: CloseOperation, end: MemberEnd, *, nothing_left: bool) -> dict[str, object]:
    values: dict[str, object] = {"updated": NOW, "wanted_configuration_id": None, "restores_backup_id": None}
    values |= _fault(word, end)
    if end.status is not None:
        values |= {"status": end.status.value}
    if word.state is OperationState.DONE and end.status is InstanceStatus.ACTIVE:
        # the engine runs; what the watch saw while it was stopped is over, and it tells what comes. NONE: it saw that the
        # engine runs before, and an operation that failed made it forgotten
        passing = [OperatingStatus.SHUTDOWN.value, OperatingStatus.RESTARTING.value, OperatingStatus.NONE.value]
        seen = instances.c.operating_status
        values |= {"operating_status": case((seen.in_(passing), OperatingStatus.HEALTHY.value), else_=seen)}
    if end.status is InstanceStatus.ERROR:  # nobody watches it any more: what was last seen does not count
        values |= {"operating_status": OperatingStatus.NONE.value, "operating_status_reason": None}
    if end.status is InstanceStatus.SHUTDOWN:
        values |= {"operating_status": OperatingStatus.SHUTDOWN.value, "operating_status_reason": STOPPED}
    if nothing_left:
        values |= {"configuration_id": None, "restart_required": False, "tls": {}, "tls_before": null()}
        values |= {"addresses": [], "operating_status": OperatingStatus.NONE.value, "operating_status_reason": None}
    if end.deleted:
        values |= {"deleted": True, "deleted_at": NOW, "status": InstanceStatus.SHUTDOWN.value}
    return values


def _fault(word: CloseOperation, end: MemberEnd) -> dict[str, object]:
    """Keep why the last operation failed; a good end clears it, and so does the engine's health."""
    if end.status is InstanceStatus.ERROR or word.state is OperationState.FAILED:
        return {"fault_message": end.reason or word.reason, "fault_created": NOW}
    if word.state is OperationState.DONE:
        return {"fault_message": None, "fault_created": None}
    return {}


async def record_health(conn: AsyncConnection, report: HealthReport) -> bool:
    """Keep the watch's word on an instance that exists and was built; return whether it was."""
    values: dict[str, object] = {
        "operating_status": report.operating_status.value,
        "operating_status_reason": report.reason,
        "service_status_updated": NOW,
    }
    known = report.model_dump(include={"volume_used_bytes", "volume_total_bytes", "guest_version"}, exclude_none=True)
    where = (instances.c.id == report.instance_id, ~instances.c.deleted, resources.has_server())
    kept = await conn.execute(update(instances).where(*where).values(**values, **known))
    if report.operating_status is OperatingStatus.HEALTHY:
        await heal(conn, report.instance_id)
    return kept.rowcount > 0


async def heal(conn: AsyncConnection, instance_id: UUID | None = None) -> None:
    """Set back to ACTIVE what is in ERROR and yet serves: one instance, or all that nothing happened to of late."""
    i = instances.c
    healthy = i.operating_status == OperatingStatus.HEALTHY.value
    serves = (~i.deleted, resources.has_server(), healthy, ~is_worked_on())
    which = i.id == instance_id if instance_id else i.updated < NOW - SETTLED
    better = {"status": InstanceStatus.ACTIVE.value, "updated": NOW}
    await conn.execute(update(instances).where(*serves, which, i.status == InstanceStatus.ERROR.value).values(better))
    good = {"fault_message": None, "fault_created": None}
    told = (i.fault_message.is_not(None), i.status == InstanceStatus.ACTIVE.value)
    await conn.execute(update(instances).where(*serves, which, *told).values(good))


async def guest_state(conn: AsyncConnection, instance_id: UUID) -> GuestState:
    """Return what the watch last wrote of an instance that exists and is not being deleted."""
    i = instances.c
    statement = select(
        i.status, i.deleted, i.operating_status, i.operating_status_reason,
        resources.current(ResourceKind.SERVER).label("server_id"), resources.current(ResourceKind.VOLUME).label("volume_id"),
    ).where(i.id == instance_id)  # fmt: skip
    row = (await conn.execute(statement)).one_or_none()
    if row is None or row.deleted or row.status == InstanceStatus.SHUTDOWN.value:
        return GuestState(exists=False)
    return GuestState(exists=True, operating_status=OperatingStatus(row.operating_status),
                      reason=row.operating_status_reason, server_id=row.server_id, volume_id=row.volume_id)  # fmt: skip
