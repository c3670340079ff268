"""Admission: the one transaction that opens an operation, or refuses it and touches nothing."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, exists, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Executable

from contract.domain.configurations import Attachment, ConfigurationGroup
from contract.domain.errors import BadRequest, Busy, Expired, Refused
from contract.domain.instance import DatastoreVersion, Flavor, InstanceFacts, InstanceStatus
from contract.domain.kinds import KINDS, Kind, Needs, left_by
from contract.domain.operation import (
    Admission,
    AdmissionRequest,
    AdmittedMember,
    MemberRequest,
    OperationKind,
    OperationState,
)
from records import backups, configurations, quotas, requests, resources
from records.datastores import offered_version
from records.facts import facts_for, facts_in, facts_of, missing, with_backups
from records.tables import (
    groups,
    instances,
    operation_members,
    operation_steps,
    operations,
)

OPEN = OperationState.RUNNING.value
# the last one ends a transaction whose worker stands still: nobody waits for it, and others wait for its locks
LIMITS = text(
    "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '3s', true),"
    " set_config('idle_in_transaction_session_timeout', '3s', true)"
)
MAY_LACK_PARTS = (InstanceStatus.ERROR, InstanceStatus.SHUTDOWN)  # where the last operation was a deletion


@dataclass(frozen=True)
class Admitter:
    """Admits one request on one connection.

    `still_open` asks Temporal whether the asking run is open: an admission that outlived its run commits nothing.
    """

    conn: AsyncConnection
    request: AdmissionRequest
    default_quotas: Mapping[str, int]
    still_open: Callable[[], Awaitable[bool]]

    @property
    def kind(self) -> Kind:
        """What an operation of this kind is."""
        return KINDS[self.request.kind]

    async def admit(self) -> Admission:
        """Open the operation and return its fence number; the caller's transaction is committed by the caller."""
        if len(set(self._ids)) < len(self._ids):
            raise BadRequest("an operation names each of its members once")
        await self.conn.execute(LIMITS)
        await requests.hold(self.conn, self.request.operation_id)
        group = await self._lock_group()
        if known := await self._own():
            return known
        await self._refuse_late()
        await self._close_stale()
        members = [await (self._create(each) if each.spec else self._touch(each)) for each in self.request.members]
        fence = await self._next_fence(group)
        await self._open(fence, members)
        if self.kind.removes:
            await requests.end_waiting(self.conn, self._ids)
        if not await self.still_open():
            raise Refused("the run that asked for this admission has ended")
        await self._refuse_late()  # the last statement before the commit
        return Admission(operation_id=self.request.operation_id, fence=fence, members=tuple(members))

    async def _lock_group(self) -> Row[Any]:
        group_id = self.request.group_id
        lock: Executable = select(groups).where(groups.c.id == group_id).with_for_update()
        if self.kind.needs is Needs.NOTHING:
            made = upsert(groups).values(id=group_id)
            lock = made.on_conflict_do_update(index_elements=["id"], set_={"id": group_id}).returning(groups)
        row = (await self.conn.execute(lock)).one_or_none()
        if row is None:
            raise missing(self.request.members[0].instance_id)
        return row

    async def _next_fence(self, group: Row[Any]) -> int:
        """A number above all that the group and its members have seen: a member may come from another group."""
        of_members = select(func.max(instances.c.fence)).where(instances.c.id.in_(self._ids)).scalar_subquery()
        next_one = func.greatest(groups.c.fence, of_members) + 1  # NULL, of no member, counts for nothing
        changed = update(groups).where(groups.c.id == group.id).values(fence=next_one)
        return int((await self.conn.execute(changed.returning(groups.c.fence))).scalar_one())

    @property
    def _ids(self) -> Sequence[UUID]:
        return [each.instance_id for each in self.request.members]

    async def _own(self) -> Admission | None:
        """A retried admission repeats its own answer instead of meeting its own status change."""
        statement = select(operations).where(operations.c.id == self.request.operation_id)
        row = (await self.conn.execute(statement)).one_or_none()
        if row is None:
            return None
        members = await members_of(self.conn, row.id)
        if not self._is_ours(row, members):
            raise Refused(f"operation {row.id} is another one: its id cannot be used twice")
        if row.state != OPEN:
            raise Refused(f"operation {row.id} has ended: {row.state}")
        admitted = [await self._again(each, members[each.instance_id].interrupted) for each in self.request.members]
        return Admission(operation_id=row.id, fence=row.fence, members=tuple(admitted))

    async def _again(self, asked: MemberRequest, interrupted: OperationKind | None) -> AdmittedMember:
        facts, wanted = await facts_of(self.conn, asked.instance_id), asked.attachment
        group = facts.configuration
        if wanted is not None:
            named = wanted.configuration_id
            group = await configurations.group_of(self.conn, named) if named else None
        return await with_backups(self.conn, AdmittedMember(instance=facts, interrupted=interrupted, wanted=group))

    def _is_ours(self, row: Row[Any], members: Mapping[UUID, Row[Any]]) -> bool:
        """Whether a record is of this very operation: the id alone proves nothing, for whoever asks has chosen it."""
        asked = self.request
        return (row.kind, set(members), row.group_id, row.first_execution_run_id) == (
            asked.kind.value, set(self._ids), asked.group_id, asked.first_execution_run_id
        )  # fmt: skip

    async def _refuse_late(self) -> None:
        """Refuse where nobody waits for the answer any more, or the API has answered that this will not happen."""
        expires, withdrawn = self.request.expires_at, requests.withdrawn(self.request.operation_id)
        late = withdrawn if expires is None else (func.clock_timestamp() > expires) | withdrawn
        if (await self.conn.execute(select(late))).scalar_one():
            raise Expired("nobody waits for this operation any more; nothing was touched")

    async def _close_stale(self) -> None:
        """Close what is open in the group: the asking run holds the lock, so no other run works here any more.

        Of its own run chain, what is open is the operation that makes way for a deletion: what that leaves of the member
        that is deleted has not to be put right.
        """
        statement = select(operations).where(operations.c.group_id == self.request.group_id, operations.c.state == OPEN)
        row = (await self.conn.execute(statement)).one_or_none()
        if row is None:
            return
        handed_over = row.first_execution_run_id == self.request.first_execution_run_id
        state = OperationState.CANCELLED if handed_over else OperationState.INTERRUPTED
        reason = "the instance is being deleted" if handed_over else "the run was ended from outside"
        await end_operation(self.conn, row.id, state, reason)
        for each in (await members_of(self.conn, row.id)).values():
            if handed_over and each.instance_id in self._ids:
                await adjust_charge(self.conn, row.kind, each)
                continue
            left = left_by(OperationKind(row.kind), OperationKind(each.interrupted) if each.interrupted else None)
            mine = update(instances).where(instances.c.id == each.instance_id)
            await self.conn.execute(mine.values(unsettled=left.value, wanted_configuration_id=None))

    def _interrupted(self, instance_id: UUID, unsettled: str | None) -> OperationKind | None:
        """What is to be put right. Refuse what does not do that itself: the sweep settles it soon."""
        if unsettled is None:
            if self.kind.only_repairs:
                raise Refused("there is nothing to settle")
            return None
        if unsettled not in self.kind.repairs:
            raise Busy(f"Instance {instance_id} is not currently available for an action to be performed "
                       f"(an interrupted {unsettled} is being put right).")  # fmt: skip
        return OperationKind(unsettled)

    async def _create(self, wanted: MemberRequest) -> AdmittedMember:
        spec, offer = wanted.spec, wanted.offer
        if self.kind.needs is not Needs.NOTHING or spec is None or spec.version is None or offer is None:
            raise BadRequest("a creation, and nothing else, needs a spec and an offer")
        version = await self._require_active(spec.version)
        _refuse_unoffered(spec.version, offer.flavor, offer.volume_type)
        if (await self.conn.execute(select(instances.c.id).where(instances.c.id == wanted.instance_id))).first():
            raise Refused(f"instance {wanted.instance_id} exists already")
        project = self.request.caller.project_id
        amounts = {"instances": 1, "volumes": spec.volume_gib, "ram": offer.flavor.ram_mib}
        await quotas.charge(self.conn, project, wanted.instance_id, amounts, self.default_quotas)
        values = {
            "id": wanted.instance_id,
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
        row = (await self.conn.execute(insert(instances).values(values).returning(instances))).one()
        facts = facts_in(row, version)
        if spec.configuration_id is not None:
            group = await self._hold(facts, "configuration_id", spec.configuration_id)
            read = update(instances).where(instances.c.id == facts.id).values(configured=group.updated)
            await self.conn.execute(read)
            facts = facts.model_copy(update={"configuration": group})
        if spec.backup_id is not None:
            await backups.hold_for_restore(self.conn, facts, spec.backup_id)
        return await with_backups(self.conn, AdmittedMember(instance=facts))

    async def _require_active(self, wanted: DatastoreVersion) -> DatastoreVersion:
        """Refuse a version that is not offered any more, or is another than the order says; who removes it waits."""
        found = await offered_version(self.conn, wanted.id)
        if found is None:
            raise BadRequest(f"Datastore version '{wanted.name}' is not active.")
        if found != wanted:
            raise BadRequest(f"Datastore version '{wanted.name}' is not what the catalogue says of it.")
        return found

    async def _touch(self, wanted: MemberRequest) -> AdmittedMember:
        facts = await facts_for(self.conn, wanted.instance_id, self.request.caller, self.request.group_id)
        state = await self._state_of(facts.id)
        if self.kind.needs is not Needs.INSTANCE:
            await self._require_server(facts, state)
        interrupted = self._interrupted(facts.id, state.unsettled)
        await self._charge(facts, wanted)
        group = await self._attach(facts, wanted.attachment) if wanted.attachment else facts.configuration
        if wanted.backup is not None:
            await backups.make(self.conn, facts, wanted.backup, self.default_quotas)
        return await with_backups(self.conn, AdmittedMember(instance=facts, interrupted=interrupted, wanted=group))

    async def _attach(self, facts: InstanceFacts, attachment: Attachment) -> ConfigurationGroup | None:
        """The group that an instance is to be given, which stays until it has it; refuse a second one."""
        if attachment.configuration_id is None:
            return None
        if facts.configuration is not None:
            raise BadRequest(
                f"Instance {facts.id} already has a configuration group attached: {facts.configuration.id}."
            )
        return await self._hold(facts, "wanted_configuration_id", attachment.configuration_id)

    async def _hold(self, facts: InstanceFacts, column: str, configuration_id: UUID) -> ConfigurationGroup:
        """Refer to a group, so that nobody deletes it, and read it then."""
        wanted = (self.conn, configuration_id, facts.project_id, facts.version.id)
        await configurations.group_for(*wanted)
        mine = update(instances).where(instances.c.id == facts.id)
        await self.conn.execute(mine.values({column: configuration_id}))
        return await configurations.group_for(*wanted)

    async def _state_of(self, instance_id: UUID) -> Row[Any]:
        i = instances.c
        found = select(i.unsettled, i.fault_message, resources.has_server().label("has_server"))
        return (await self.conn.execute(found.where(i.id == instance_id))).one()

    async def _charge(self, facts: InstanceFacts, wanted: MemberRequest) -> None:
        """Refuse a size that the instance has, that is none for a volume, or that the quota does not cover."""
        amounts: dict[str, int] = {}
        if wanted.flavor is not None:
            if wanted.flavor.id == facts.flavor.id:
                raise BadRequest("No change was requested in the size of the instance: it has this flavor.")
            _refuse_unoffered(facts.version, wanted.flavor, None)
            amounts["ram"] = wanted.flavor.ram_mib
        if wanted.volume_gib is not None:
            if wanted.volume_gib <= facts.volume_gib:
                raise BadRequest(f"The new volume 'size' must be larger than the current volume size of "
                                 f"'{facts.volume_gib}'.")  # fmt: skip
            amounts["volumes"] = wanted.volume_gib
        await quotas.charge_more(self.conn, facts.project_id, facts.id, amounts, self.default_quotas)

    async def _require_server(self, facts: InstanceFacts, state: Row[Any]) -> None:
        """Refuse what needs a server where there is none: what exists counts, not a status."""
        stopped = facts.status is InstanceStatus.SHUTDOWN and not self.kind.starts
        if facts.status is InstanceStatus.BUILD or stopped:
            raise busy(facts.id, facts.status)
        o, m = operations.c, operation_members.c
        last = select(o.kind).join(operation_members, m.operation_id == o.id)
        last = last.where(m.instance_id == facts.id, o.state != OPEN).order_by(o.fence.desc()).limit(1)
        kind = (await self.conn.execute(last)).scalar()
        half_deleted = facts.status in MAY_LACK_PARTS and kind is not None and KINDS[OperationKind(kind)].removes
        if not state.has_server or half_deleted:
            why = state.fault_message or ("its deletion has failed" if half_deleted else "it was never built")
            raise Busy(f"Instance {facts.id} has no server that could be used ({why}); it can only be deleted.")

    async def _open(self, fence: int, members: Sequence[AdmittedMember]) -> None:
        caller, operation_id = self.request.caller, self.request.operation_id
        values = {
            "id": operation_id,
            "kind": self.request.kind.value,
            "group_id": self.request.group_id,
            "project_id": members[0].instance.project_id,
            "user_id": caller.user_id,
            "request_id": caller.request_id,
            "state": OPEN,
            "fence": fence,
            "workflow_id": self.request.workflow_id,
            "run_id": self.request.run_id,
            "first_execution_run_id": self.request.first_execution_run_id,
        }
        await self.conn.execute(insert(operations).values(values))
        rows = [
            {
                "operation_id": operation_id,
                "instance_id": each.instance.id,
                "interrupted": each.interrupted.value if each.interrupted else None,
                "builds": each.instance.status is InstanceStatus.BUILD,
            }
            for each in members
        ]
        await self.conn.execute(insert(operation_members), rows)
        changed: dict[str, object] = {"fence": fence, "unsettled": None}
        if self.kind.shows is not None and self.kind.needs is not Needs.NOTHING:
            changed |= {"status": self.kind.shows.value, "updated": func.clock_timestamp()}
        await self.conn.execute(update(instances).where(instances.c.id.in_(self._ids)).values(changed))


def _refuse_unoffered(version: DatastoreVersion, flavor: Flavor, volume_type: str | None) -> None:
    """Refuse a flavor or a volume type that the version may not be ordered with."""
    if version.flavors is not None and not {flavor.id, flavor.name} & set(version.flavors):
        raise BadRequest(f"Flavor '{flavor.name}' is not offered for datastore version '{version.name}'.")
    if version.volume_types is not None and volume_type is not None and volume_type not in version.volume_types:
        raise BadRequest(f"Volume type '{volume_type}' is not offered for datastore version '{version.name}'.")


async def members_of(conn: AsyncConnection, operation_id: UUID) -> dict[UUID, Row[Any]]:
    """What the records have of an operation's members, by instance."""
    m = operation_members.c
    found = select(m.instance_id, m.interrupted, m.builds).where(m.operation_id == operation_id)
    rows: Sequence[Any] = (await conn.execute(found)).all()
    return {row.instance_id: row for row in rows}


async def adjust_charge(conn: AsyncConnection, kind: str, member: Row[Any]) -> None:
    """Where an operation that has ended could give a member another size, charge for the one that it has."""
    if any(KINDS[OperationKind(each)].resizes for each in (kind, member.interrupted) if each):
        await quotas.adjust(conn, member.instance_id)


def is_worked_on() -> ColumnElement[bool]:
    """Whether an operation works on the instance of the statement around it, or has left it half-way."""
    o, m = operations.c, operation_members.c
    works = exists().where(m.instance_id == instances.c.id, m.operation_id == o.id, o.state == OPEN)
    return works.correlate(instances) | instances.c.unsettled.is_not(None)


async def end_operation(conn: AsyncConnection, operation_id: UUID, state: OperationState, reason: str | None) -> None:
    """Close an open operation and the step that it is in."""
    now = func.clock_timestamp()
    where = (operations.c.id == operation_id, operations.c.state == OPEN)
    await conn.execute(update(operations).where(*where).values(state=state.value, reason=reason, finished=now))
    steps = update(operation_steps).where(
        operation_steps.c.operation_id == operation_id, operation_steps.c.finished.is_(None)
    )
    await conn.execute(steps.values(finished=now, outcome=state.value))


def busy(instance_id: UUID, status: str) -> Busy:
    """Trove's sentence for an instance that is doing something else."""
    return Busy(
        f"Instance {instance_id} is not currently available for an action to be performed "
        f"(instance status was {status})."
    )
