"""What the sweeps compare with Temporal and with OpenStack."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import any_, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.instance import InstanceStatus, OperatingStatus
from contract.domain.operation import OperationKind
from contract.domain.resources import ResourceKind
from records.admission import OPEN, is_worked_on
from records.resources import has_server
from records.tables import (
    configurations,
    flavors,
    instances,
    leftovers,
    operation_members,
    operations,
    resources,
    volume_types,
    waiting,
)

NOW = func.clock_timestamp()
TOLD_BY_THE_CHANGE = timedelta(minutes=1)  # the change of a group orders it itself
TOLD_EVERY = timedelta(hours=1)  # an engine that refuses its settings is not asked again and again


@dataclass(frozen=True)
class Members:
    """Members of one group that may have to be put right together."""

    group_id: UUID
    project_id: str
    instance_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class OpenRun:
    """An operation that the records hold for open, and the run that is said to do it."""

    members: Members
    workflow_id: str
    first_execution_run_id: str


async def open_runs(conn: AsyncConnection, older_than: int) -> list[OpenRun]:
    """Operations that have been open for so many seconds."""
    o, m = operations.c, operation_members.c
    age = func.clock_timestamp() - timedelta(seconds=older_than)
    statement = select(o.group_id, o.project_id, func.array_agg(m.instance_id), o.workflow_id, o.first_execution_run_id)
    statement = statement.join(operation_members, m.operation_id == o.id).where(o.state == OPEN, o.created < age)
    rows = (await conn.execute(statement.group_by(o.id))).all()
    return [OpenRun(Members(row[0], row[1], tuple(row[2])), *row[3:]) for row in rows]


async def left_half_way(conn: AsyncConnection) -> list[Members]:
    """What operations that were ended from outside have left, where no other one works on the group."""
    i, o = instances.c, operations.c
    busy = exists().where(o.group_id == i.group_id, o.state == OPEN).correlate(instances)
    statement = select(i.group_id, i.project_id, func.array_agg(i.id)).where(
        ~i.deleted, i.unsettled.is_not(None), ~busy
    )
    rows = (await conn.execute(statement.group_by(i.group_id, i.project_id))).all()
    return [Members(row[0], row[1], tuple(row[2])) for row in rows]


async def behind(conn: AsyncConnection) -> list[Members]:
    """Instances that serve without what their configuration groups say, and that nobody has told for `TOLD_EVERY`."""
    i, c, o, m, w = instances.c, configurations.c, operations.c, operation_members.c, waiting.c
    told = (
        select(o.id).join(operation_members, m.operation_id == o.id)
        .where(m.instance_id == i.id, o.kind == OperationKind.RECONFIGURE.value)
        .where(o.created > func.greatest(c.updated, NOW - TOLD_EVERY)).exists()
    )  # fmt: skip
    waits = select(w.operation_id).where(i.id == any_(w.instance_ids)).exists()
    statement = select(i.group_id, i.project_id, i.id).join(configurations, c.id == i.configuration_id).where(
        ~i.deleted, i.status == InstanceStatus.ACTIVE.value, i.operating_status == OperatingStatus.HEALTHY.value,
        c.updated < NOW - TOLD_BY_THE_CHANGE, c.updated > func.coalesce(i.configured, i.created),
        ~is_worked_on(), ~told, ~waits,
    )  # fmt: skip
    return [Members(row.group_id, row.project_id, (row.id,)) for row in (await conn.execute(statement)).all()]


async def unattended(conn: AsyncConnection) -> list[UUID]:
    """Instances that should be watched: they have a server that was not stopped, and no operation works on them."""
    i = instances.c
    stands = i.status != InstanceStatus.SHUTDOWN.value
    return list((await conn.execute(select(i.id).where(~i.deleted, stands, has_server(), ~is_worked_on()))).scalars())


async def name_and_project(conn: AsyncConnection, instance_id: UUID) -> tuple[str, str]:
    """What an instance is called, and whose it is."""
    i = instances.c
    row = (await conn.execute(select(i.name, i.project_id).where(i.id == instance_id))).one()
    return row.name, row.project_id


async def stays(conn: AsyncConnection, instance_id: UUID) -> bool:
    """Whether an instance is there and not being deleted."""
    i = instances.c
    going = i.deleted | (i.status == InstanceStatus.SHUTDOWN.value)
    return (await conn.execute(select(i.id).where(i.id == instance_id, ~going))).first() is not None


@dataclass(frozen=True)
class Wanted:
    """What must stay: all of an instance that is being worked on, and of others what the records name."""

    named: Mapping[str, Mapping[str, Collection[str]]]
    busy: frozenset[str]

    def keeps(self, kind: str, resource_id: str, instance_id: str) -> bool:
        """Whether a resource belongs to somebody."""
        if instance_id in self.busy:
            return True
        known = self.named.get(instance_id)
        if known is None or ResourceKind.SERVER not in known:
            return False
        return kind not in list(ResourceKind) or resource_id in known.get(kind, ())


async def wanted(conn: AsyncConnection) -> Wanted:
    """What the records say must stay."""
    i, r = instances.c, resources.c
    statement = select(r.instance_id, r.kind, r.id).join(instances, i.id == r.instance_id)
    named: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in (await conn.execute(statement.where(~i.deleted, r.id.is_not(None)))).all():
        named[str(row.instance_id)][row.kind].add(row.id)
    busy = (await conn.execute(select(i.id).where(~i.deleted, is_worked_on()))).scalars()
    return Wanted(named, frozenset(str(each) for each in busy))


async def remember_leftovers(
    conn: AsyncConnection, found: Collection[tuple[str, str, str]], grace: int
) -> set[tuple[str, str]]:
    """Keep since when each (kind, id, instance id) is left over; return those that are so for `grace` seconds."""
    keys = {(kind, resource_id) for kind, resource_id, _ in found}
    for row in (await conn.execute(select(leftovers.c.kind, leftovers.c.id))).all():
        if (row.kind, row.id) not in keys:
            await conn.execute(delete(leftovers).where(leftovers.c.kind == row.kind, leftovers.c.id == row.id))
    for kind, resource_id, instance_id in found:
        values = {"kind": kind, "id": resource_id, "instance_id": instance_id}
        await conn.execute(upsert(leftovers).values(values).on_conflict_do_nothing())
    age = func.clock_timestamp() - timedelta(seconds=grace)
    statement = select(leftovers.c.kind, leftovers.c.id).where(leftovers.c.first_seen <= age)
    return {(row.kind, row.id) for row in (await conn.execute(statement)).all()}


async def mirror(conn: AsyncConnection, found: Sequence[Mapping[str, Any]], types: Sequence[Mapping[str, Any]]) -> None:
    """Replace the mirrored flavors and volume types."""
    for table, rows in ((flavors, found), (volume_types, types)):
        await conn.execute(delete(table))
        if rows:
            await conn.execute(table.insert(), [dict(row) for row in rows])
