"""Admission: the one transaction that opens an operation, or refuses it and touches nothing."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from records import quotas, requests
from records.tables import datastore_versions, datastores, groups, instances, operation_steps, operations
from workflows.domain.errors import BadRequest, Busy, Expired, NotFound, Refused
from workflows.domain.instance import DatastoreVersion, InstanceFacts, InstanceStatus
from workflows.domain.operation import Admission, AdmissionRequest, OperationKind, OperationState

OPEN = OperationState.RUNNING.value
# the last one ends a transaction whose worker stands still: nobody waits for it, and others wait for its locks
LIMITS = text(
    "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '3s', true),"
    " set_config('idle_in_transaction_session_timeout', '3s', true)"
)
STATUS_WHILE = {
    OperationKind.CREATE: InstanceStatus.BUILD,
    OperationKind.DELETE: InstanceStatus.SHUTDOWN,
    OperationKind.RESTART: InstanceStatus.REBOOT,
}
GOING_AWAY = (InstanceStatus.BUILD, InstanceStatus.SHUTDOWN)  # nobody may count on what exists


@dataclass(frozen=True)
class Admitter:
    """Admits one request on one connection.

    `still_open` asks Temporal whether the asking run is open: an admission that outlived its run commits nothing.
    """

    conn: AsyncConnection
    request: AdmissionRequest
    default_quotas: Mapping[str, int]
    still_open: Callable[[], Awaitable[bool]]

    async def admit(self) -> Admission:
        """Open the operation and return its fence number; the caller's transaction is committed by the caller."""
        await self.conn.execute(LIMITS)
        await requests.hold(self.conn, self.request.operation_id)
        group = await self._lock_group()
        if known := await self._own():
            return known
        await self._refuse_late()
        interrupted = await self._close_stale()
        fence = int(group.fence) + 1
        await self.conn.execute(update(groups).where(groups.c.id == group.id).values(fence=fence))
        facts = await (self._create() if self.request.kind is OperationKind.CREATE else self._touch(interrupted))
        await self._open(fence, facts, interrupted)
        if not await self.still_open():
            raise Refused("the run that asked for this admission has ended")
        await self._refuse_late()  # the last statement before the commit
        return Admission(operation_id=self.request.operation_id, fence=fence, instance=facts, interrupted=interrupted)

    async def _lock_group(self) -> Row[Any]:
        group_id = self.request.group_id
        if self.request.kind is OperationKind.CREATE:
            await self.conn.execute(upsert(groups).values(id=group_id).on_conflict_do_nothing())
        row = (await self.conn.execute(select(groups).where(groups.c.id == group_id).with_for_update())).one_or_none()
        if row is None:
            raise _missing(self.request.instance_id)
        return row

    async def _own(self) -> Admission | None:
        """A retried admission repeats its own answer instead of meeting its own status change."""
        statement = select(operations).where(operations.c.id == self.request.operation_id)
        row = (await self.conn.execute(statement)).one_or_none()
        if row is None:
            return None
        if not self._is_ours(row):
            raise Refused(f"operation {row.id} is another one: its id cannot be used twice")
        if row.state != OPEN:
            raise Refused(f"operation {row.id} has ended: {row.state}")
        facts = await facts_of(self.conn, row.instance_id)
        interrupted = OperationKind(row.interrupted) if row.interrupted else None
        return Admission(operation_id=row.id, fence=row.fence, instance=facts, interrupted=interrupted)

    def _is_ours(self, row: Row[Any]) -> bool:
        """Whether a record is of this very operation: the id alone proves nothing, for whoever asks has chosen it."""
        asked = self.request
        return (row.kind, row.instance_id, row.group_id, row.first_execution_run_id) == (
            asked.kind.value, asked.instance_id, asked.group_id, asked.first_execution_run_id
        )  # fmt: skip

    async def _refuse_late(self) -> None:
        """Refuse where nobody waits for the answer any more, or the API has answered that this will not happen."""
        expires = self.request.expires_at
        late = expires is not None and (
            await self.conn.execute(select(func.clock_timestamp() > expires))
        ).scalar_one()  # fmt: skip
        if late or await requests.is_withdrawn(self.conn, self.request.operation_id):
            raise Expired("nobody waits for this operation any more; nothing was touched")

    async def _close_stale(self) -> OperationKind | None:
        """Close what is open in the group: the asking run holds the lock, so no other run works here any more.

        Of its own run chain, what is open is the operation that makes way for a deletion.
        """
        statement = select(operations).where(operations.c.group_id == self.request.group_id, operations.c.state == OPEN)
        row = (await self.conn.execute(statement)).one_or_none()
        if row is None:
            return None
        handed_over = row.first_execution_run_id == self.request.first_execution_run_id
        state = OperationState.CANCELLED if handed_over else OperationState.INTERRUPTED
        reason = "the instance is being deleted" if handed_over else "the run was ended from outside"
        await end_operation(self.conn, row.id, state, reason)
        return None if handed_over else OperationKind(row.interrupted or row.kind)

    async def _create(self) -> InstanceFacts:
        spec, offer = self.request.spec, self.request.offer
        if spec is None or spec.version is None or offer is None:
            raise BadRequest("a creation needs a spec and an offer")
        active = select(datastore_versions.c.active).where(datastore_versions.c.id == spec.version.id)
        if not (await self.conn.execute(active)).scalar():
            raise BadRequest(f"Datastore version '{spec.version.name}' is not active.")
        if (await self.conn.execute(select(instances.c.id).where(instances.c.id == self.request.instance_id))).first():
            raise Refused(f"instance {self.request.instance_id} exists already")
        project = self.request.caller.project_id
        amounts = {"instances": 1, "volumes": spec.volume_gib, "ram": offer.flavor.ram_mib}
        await quotas.charge(self.conn, project, self.request.instance_id, amounts, self.default_quotas)
        values = {
            "id": self.request.instance_id,
            "group_id": self.request.group_id,
            "project_id": project,
            "name": spec.name,
            "status": InstanceStatus.BUILD.value,
            "datastore_version_id": spec.version.id,
            "flavor_id": offer.flavor.id,
            "flavor": offer.flavor.model_dump(mode="json"),
            "volume_gib": spec.volume_gib,
            "volume_type": offer.volume_type,
            "region": spec.region,
            "access": spec.access.model_dump(mode="json"),
            "nic": spec.nic.model_dump(mode="json") if spec.nic else None,
            "availability_zone": spec.availability_zone,
            "locality": spec.locality,
        }
        await self.conn.execute(insert(instances).values(values))
        return await facts_of(self.conn, self.request.instance_id)

    async def _touch(self, interrupted: OperationKind | None) -> InstanceFacts:
        facts = await facts_of(self.conn, self.request.instance_id)
        caller = self.request.caller
        if facts.project_id != caller.project_id and not caller.is_admin:
            raise _missing(facts.id)
        if facts.group_id != self.request.group_id:
            raise Refused(f"instance {facts.id} belongs to group {facts.group_id}")
        if self.request.kind is OperationKind.RESTART:
            await self._require_server(facts)
        if self.request.kind is OperationKind.SETTLE and interrupted is None:
            raise Refused("there is nothing to settle")
        return facts

    async def _require_server(self, facts: InstanceFacts) -> None:
        """Refuse what needs a server where there is none: what exists counts, not a status."""
        if facts.status in GOING_AWAY:
            raise busy(facts.id, facts.status)
        found = select(instances.c.server_id, instances.c.fault_message).where(instances.c.id == facts.id)
        row = (await self.conn.execute(found)).one()
        last = select(operations.c.kind).where(operations.c.instance_id == facts.id, operations.c.state != OPEN)
        kind = (await self.conn.execute(last.order_by(operations.c.fence.desc()).limit(1))).scalar()
        half_deleted = facts.status is InstanceStatus.ERROR and kind == OperationKind.DELETE.value
        if row.server_id is None or half_deleted:
            why = row.fault_message or ("its deletion has failed" if half_deleted else "it was never built")
            raise Busy(f"Instance {facts.id} has no server that could be used ({why}); it can only be deleted.")

    async def _open(self, fence: int, facts: InstanceFacts, interrupted: OperationKind | None) -> None:
        caller = self.request.caller
        values = {
            "id": self.request.operation_id,
            "kind": self.request.kind.value,
            "instance_id": facts.id,
            "group_id": self.request.group_id,
            "project_id": facts.project_id,
            "user_id": caller.user_id,
            "request_id": caller.request_id,
            "state": OPEN,
            "fence": fence,
            "workflow_id": self.request.workflow_id,
            "run_id": self.request.run_id,
            "first_execution_run_id": self.request.first_execution_run_id,
            "interrupted": interrupted.value if interrupted else None,
        }
        await self.conn.execute(insert(operations).values(values))
        if status := STATUS_WHILE.get(self.request.kind):
            changed = {"status": status.value, "updated": func.clock_timestamp()}
            await self.conn.execute(update(instances).where(instances.c.id == facts.id).values(changed))


async def end_operation(conn: AsyncConnection, operation_id: UUID, state: OperationState, reason: str | None) -> None:
    """Close an open operation and the step that it is in."""
    now = func.clock_timestamp()
    where = (operations.c.id == operation_id, operations.c.state == OPEN)
    await conn.execute(update(operations).where(*where).values(state=state.value, reason=reason, finished=now))
    steps = update(operation_steps).where(
        operation_steps.c.operation_id == operation_id, operation_steps.c.finished.is_(None)
    )
    await conn.execute(steps.values(finished=now, outcome=state.value))


async def facts_of(conn: AsyncConnection, instance_id: UUID) -> InstanceFacts:
    """Return what runbooks know of an instance that is not deleted; NotFound otherwise."""
    joined = instances.join(datastore_versions, datastore_versions.c.id == instances.c.datastore_version_id)
    joined = joined.join(datastores, datastores.c.id == datastore_versions.c.datastore_id)
    statement = (
        select(
            instances,
            datastore_versions.c.name.label("version_name"),
            datastore_versions.c.number,
            datastore_versions.c.manager,
            datastore_versions.c.image,
            datastore_versions.c.image_tags,
            datastores.c.id.label("datastore_id"),
            datastores.c.name.label("datastore"),
        )
        .select_from(joined)
        .where(instances.c.id == instance_id, ~instances.c.deleted)
    )
    row = (await conn.execute(statement)).one_or_none()
    if row is None:
        raise _missing(instance_id)
    version = DatastoreVersion(
        id=row.datastore_version_id,
        name=row.version_name,
        number=row.number,
        datastore_id=row.datastore_id,
        datastore=row.datastore,
        manager=row.manager,
        image=row.image,
        image_tags=tuple(row.image_tags),
    )
    return InstanceFacts(
        id=row.id,
        group_id=row.group_id,
        project_id=row.project_id,
        name=row.name,
        version=version,
        flavor=row.flavor,
        volume_gib=row.volume_gib,
        status=row.status,
        access=row.access,
        locality=row.locality,
    )


def busy(instance_id: UUID, status: str) -> Busy:
    """Trove's sentence for an instance that is doing something else."""
    return Busy(
        f"Instance {instance_id} is not currently available for an action to be performed "
        f"(instance status was {status})."
    )


def _missing(instance_id: UUID) -> NotFound:
    return NotFound(f"Resource {instance_id} cannot be found.")
