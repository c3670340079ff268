"""What instances have in OpenStack, by role and generation."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.operation import ResourceChanges
from contract.domain.resources import MAIN, Resource, ResourceKind
from records.tables import instances, resources

_r = resources.c


def current(kind: ResourceKind) -> ScalarSelect[str]:
    """The id of the newest resource in the main role, of the instance of the statement around it."""
    mine = (_r.instance_id == instances.c.id, _r.kind == kind.value, _r.role == MAIN, _r.id.is_not(None))
    return select(_r.id).where(*mine).order_by(_r.generation.desc()).limit(1).correlate(instances).scalar_subquery()


def has_server() -> ColumnElement[bool]:
    """Whether the instance of the statement around it has a server."""
    return current(ResourceKind.SERVER).is_not(None)


async def of(conn: AsyncConnection, instance_id: UUID) -> tuple[Resource, ...]:
    """All that an instance has, the oldest generation first."""
    statement = select(_r.kind, _r.role, _r.generation, _r.id).where(_r.instance_id == instance_id)
    rows: Sequence[object] = (await conn.execute(statement.order_by(_r.kind, _r.role, _r.generation))).all()
    return tuple(Resource.model_validate(row, from_attributes=True) for row in rows)


async def learn(conn: AsyncConnection, learnt: ResourceChanges) -> None:
    """Keep what was found, and forget what is gone."""
    instance_id = learnt.instance_id
    for each in learnt.resources:
        values = {"instance_id": instance_id, **each.model_dump(mode="json")}
        key = ["instance_id", "kind", "role", "generation"]
        await conn.execute(
            upsert(resources).values(values).on_conflict_do_update(index_elements=key, set_={"id": each.id})
        )
    if learnt.gone:
        await conn.execute(delete(resources).where(_r.instance_id == instance_id, _r.id.in_(learnt.gone)))


async def forget(conn: AsyncConnection, instance_id: UUID) -> None:
    """Nothing is left of an instance."""
    await conn.execute(delete(resources).where(_r.instance_id == instance_id))
