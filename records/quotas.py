"""Quota: charged and released in the same transaction as the record that it is for."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.errors import QuotaExceeded
from records.tables import charges, instances, projects, quotas


async def limits(conn: AsyncConnection, project_id: str, defaults: Mapping[str, int]) -> dict[str, int]:
    """Return the project's ceilings by resource; -1 is unlimited."""
    rows = await conn.execute(select(quotas.c.resource, quotas.c.ceiling).where(quotas.c.project_id == project_id))
    return {**defaults, **{row.resource: row.ceiling for row in rows}}


async def usage(conn: AsyncConnection, project_id: str) -> dict[str, int]:
    """Return what is charged to the project, by resource."""
    total = func.sum(charges.c.amount)
    rows = await conn.execute(
        select(charges.c.resource, total).where(charges.c.project_id == project_id).group_by(charges.c.resource)
    )
    return {resource: int(amount) for resource, amount in rows}


async def charge(
    conn: AsyncConnection, project_id: str, thing_id: UUID, amounts: Mapping[str, int], defaults: Mapping[str, int]
) -> None:
    """Charge a thing to a project, or raise QuotaExceeded naming every resource that does not suffice."""
    await _refuse_over(conn, project_id, amounts, defaults)
    rows = [
        {"thing_id": thing_id, "resource": resource, "project_id": project_id, "amount": amount}
        for resource, amount in amounts.items()
    ]
    await conn.execute(insert(charges), rows)


async def _refuse_over(
    conn: AsyncConnection, project_id: str, amounts: Mapping[str, int], defaults: Mapping[str, int]
) -> None:
    locked = upsert(projects).values(id=project_id)
    await conn.execute(locked.on_conflict_do_update(index_elements=["id"], set_={"id": project_id}))
    ceilings, used = await limits(conn, project_id, defaults), await usage(conn, project_id)
    over = sorted(
        resource
        for resource, amount in amounts.items()
        if 0 <= ceilings.get(resource, -1) < used.get(resource, 0) + amount
    )
    if over:
        raise QuotaExceeded(f"Quota exceeded for resources: {over}.")


async def charge_more(
    conn: AsyncConnection, project_id: str, thing_id: UUID, amounts: Mapping[str, int], defaults: Mapping[str, int]
) -> None:
    """Charge the larger of what a thing has and is to have, as long as a resize may end with either; or QuotaExceeded."""
    for resource, amount in amounts.items():
        mine = (charges.c.thing_id == thing_id, charges.c.resource == resource)
        now = int((await conn.execute(select(charges.c.amount).where(*mine))).scalar() or 0)
        if amount > now:
            await _refuse_over(conn, project_id, {resource: amount - now}, defaults)
            await conn.execute(update(charges).where(*mine).values(amount=amount))


async def adjust(conn: AsyncConnection, thing_id: UUID) -> None:
    """Charge what the instance's flavor and volume have."""
    for resource, has in (("ram", instances.c.flavor["ram_mib"].as_integer()), ("volumes", instances.c.volume_gib)):
        amount = select(has).where(instances.c.id == thing_id).scalar_subquery()
        mine = (charges.c.thing_id == thing_id, charges.c.resource == resource)
        await conn.execute(update(charges).where(*mine).values(amount=amount))


async def release(conn: AsyncConnection, thing_id: UUID) -> None:
    """Give back all that is charged for a thing; content with nothing."""
    await conn.execute(delete(charges).where(charges.c.thing_id == thing_id))


async def set_limits(conn: AsyncConnection, project_id: str, wanted: Mapping[str, int]) -> None:
    """Replace the project's ceilings of these resources."""
    for resource, ceiling in wanted.items():
        statement = upsert(quotas).values(project_id=project_id, resource=resource, ceiling=ceiling)
        await conn.execute(
            statement.on_conflict_do_update(index_elements=["project_id", "resource"], set_={"ceiling": ceiling})
        )
