"""What is changed without an operation: name, status."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.errors import NotFound
from contract.domain.instance import InstanceStatus
from records.admission import is_worked_on
from records.tables import instances


async def rename(conn: AsyncConnection, instance_id: UUID, name: str) -> None:
    """Give an instance another name; NotFound when it is gone."""
    await _change(conn, instance_id, name=name)


async def mark_error(conn: AsyncConnection, instance_id: UUID) -> None:
    """Set an instance's status to ERROR, unless an operation works on it or it was stopped; NotFound when it is gone."""
    await _change(conn, instance_id, updated=instances.c.updated)
    stands = instances.c.status != InstanceStatus.SHUTDOWN.value
    marked = update(instances).where(instances.c.id == instance_id, stands, ~is_worked_on())
    await conn.execute(marked.values(status=InstanceStatus.ERROR.value, updated=func.clock_timestamp()))


async def _change(conn: AsyncConnection, instance_id: UUID, **values: Any) -> None:
    where = instances.c.id == instance_id, ~instances.c.deleted
    values = {"updated": func.clock_timestamp(), **values}
    changed = await conn.execute(update(instances).where(*where).values(values))
    if changed.rowcount == 0:
        raise NotFound(f"Resource {instance_id} cannot be found.")
