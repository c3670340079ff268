"""What is changed without an operation: name, status."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from records.admission import OPEN
from records.sweeps import OpenRun
from records.tables import instances, operations
from workflows.domain.errors import NotFound
from workflows.domain.instance import InstanceStatus


async def rename(conn: AsyncConnection, instance_id: UUID, name: str) -> None:
    """Give an instance another name; NotFound when it is gone."""
    await _change(conn, instance_id, name=name)


async def mark_error(conn: AsyncConnection, instance_id: UUID) -> None:
    """Set an instance's status to ERROR; NotFound when it is gone."""
    await _change(conn, instance_id, status=InstanceStatus.ERROR.value)


async def _change(conn: AsyncConnection, instance_id: UUID, **values: Any) -> None:
    where = instances.c.id == instance_id, ~instances.c.deleted
    changed = await conn.execute(update(instances).where(*where).values(updated=func.clock_timestamp(), **values))
    if changed.rowcount == 0:
        raise NotFound(f"Resource {instance_id} cannot be found.")


async def open_run(conn: AsyncConnection, instance_id: UUID) -> OpenRun | None:
    """The operation that is open on an instance, with its run."""
    o = operations.c
    statement = select(o.kind, o.instance_id, o.group_id, o.project_id, o.workflow_id, o.first_execution_run_id)
    row = (await conn.execute(statement.where(o.instance_id == instance_id, o.state == OPEN))).one_or_none()
    return OpenRun(*row) if row is not None else None
