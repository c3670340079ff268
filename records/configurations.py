"""Configuration groups: what they say, and which instances have them."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.configurations import ConfigurationGroup
from contract.domain.datastores.parameters import problems, setting_of
from contract.domain.errors import BadRequest, NotFound, Unsupported
from contract.domain.operation import Caller
from contract.ports.configurations import (
    AttachedInstance,
    AttachedInstances,
    ConfigurationChange,
    ConfigurationName,
    NewConfiguration,
)
from records.parameters import offered
from records.tables import configurations, datastore_versions, instances

_c, _i, _v = configurations.c, instances.c, datastore_versions.c
MOST_TOLD = 20  # problems in one answer


async def create(conn: AsyncConnection, new: NewConfiguration) -> None:
    """Make a group; content where the same was made before."""
    values = await _checked(conn, new.datastore_version_id, new.values)
    row = {"id": new.id, "project_id": new.caller.project_id, "name": new.name, "description": new.description,
           "datastore_version_id": new.datastore_version_id, "values": values}  # fmt: skip
    await conn.execute(upsert(configurations).values(row).on_conflict_do_nothing())


async def change(conn: AsyncConnection, wanted: ConfigurationChange) -> AttachedInstances:
    """Write what a group is to say; return who has it."""
    row = await _held(conn, wanted.id, wanted.caller)
    changed: dict[str, Any] = {"updated": func.clock_timestamp()}
    if wanted.values is not None:
        values = await _checked(conn, row.datastore_version_id, wanted.values)
        changed["values"] = {**row.values_, **values} if wanted.merge else values
    if wanted.name is not None:
        changed["name"] = wanted.name
    if wanted.description is not None:
        changed["description"] = wanted.description
    await conn.execute(update(configurations).where(_c.id == wanted.id).values(changed))
    having = select(_i.id, _i.group_id).where(_i.configuration_id == wanted.id, ~_i.deleted).order_by(_i.id)
    found = (await conn.execute(having)).all()
    return AttachedInstances(
        instances=tuple(AttachedInstance(instance_id=each.id, group_id=each.group_id) for each in found)
    )


async def remove(conn: AsyncConnection, which: ConfigurationName) -> None:
    """Delete a group that no instance has, or is being given; content where it is gone."""
    try:
        await _held(conn, which.id, which.caller)
    except NotFound:
        return
    having = (_i.configuration_id == which.id) | (_i.wanted_configuration_id == which.id)
    if (await conn.execute(select(_i.id).where(having, ~_i.deleted).limit(1))).first():
        raise BadRequest(
            "A configuration group cannot be deleted if it is associated with one or more non-terminated instances. "
            "Detach the configuration group from all non-terminated instances and please try again."
        )
    await conn.execute(delete(configurations).where(_c.id == which.id))


async def _held(conn: AsyncConnection, configuration_id: UUID, caller: Caller) -> Any:
    """A group of the caller's, locked; who is being given it refers to it and so waits."""
    columns = (_c.datastore_version_id, _c["values"].label("values_"), _c.project_id)
    statement = select(*columns).where(_c.id == configuration_id).with_for_update()
    row: Any = (await conn.execute(statement)).one_or_none()
    if row is None or not (caller.is_admin or row.project_id == caller.project_id):
        raise NotFound(f"Resource {configuration_id} cannot be found.")
    return row


async def _checked(conn: AsyncConnection, version_id: UUID, values: dict[str, Any]) -> dict[str, Any]:
    """The values, their names in lower case; Unsupported with all that is wrong with them."""
    there = select(_v.name, _v.number, _v.manager).where(_v.id == version_id, ~_v.removed)
    # whoever removes the version meanwhile waits, or is waited for
    version = (await conn.execute(there.with_for_update(read=True))).one_or_none()
    if version is None:
        raise BadRequest(f"Datastore version '{version_id}' cannot be found.")
    wrong = list(problems(values, await offered(conn, version_id, version.manager, version.number), version.name))
    if wrong:
        more = len(wrong) - MOST_TOLD
        raise Unsupported("; ".join(wrong[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else ""))
    return {name.lower(): value for name, value in values.items()}


async def group_for(
    conn: AsyncConnection, configuration_id: UUID, project_id: str, version_id: UUID
) -> ConfigurationGroup:
    """A group that an instance of this project and version is to have; NotFound where it is not the project's."""
    row = (await conn.execute(select(configurations).where(_c.id == configuration_id))).one_or_none()
    if row is None or row.project_id != project_id:
        raise NotFound(f"Resource {configuration_id} cannot be found.")
    if row.datastore_version_id != version_id:
        raise BadRequest("The datastore version of the configuration group is not that of the instance.")
    return await group_of(conn, configuration_id)


async def group_of(conn: AsyncConnection, configuration_id: UUID) -> ConfigurationGroup:
    """A group, as the engine reads it."""
    values, updated = (await conn.execute(select(_c["values"], _c.updated).where(_c.id == configuration_id))).one()
    settings = {name: setting_of(each) for name, each in values.items()}
    return ConfigurationGroup(id=configuration_id, settings=settings, updated=updated)
