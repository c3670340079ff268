"""What runbooks know of an instance, from the records."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.configurations import ConfigurationGroup
from contract.domain.errors import NotFound, Refused
from contract.domain.instance import DatastoreVersion, InstanceFacts
from contract.domain.operation import AdmittedMember, Caller
from contract.domain.resources import Resource
from records import backups, configurations, resources
from records.datastores import version_by_id
from records.tables import instances


async def facts_for(conn: AsyncConnection, instance_id: UUID, caller: Caller, group_id: UUID) -> InstanceFacts:
    """The facts of a member that the caller may touch: NotFound for another project's, Refused for another group's."""
    facts = await facts_of(conn, instance_id)
    if facts.project_id != caller.project_id and not caller.is_admin:
        raise missing(facts.id)
    if facts.group_id != group_id:
        raise Refused(f"instance {facts.id} belongs to group {facts.group_id}")
    return facts


async def facts_of(conn: AsyncConnection, instance_id: UUID) -> InstanceFacts:
    """Return what runbooks know of an instance that is not deleted; NotFound otherwise."""
    statement = select(instances).where(instances.c.id == instance_id, ~instances.c.deleted)
    row = (await conn.execute(statement)).one_or_none()
    if row is None:
        raise missing(instance_id)
    group = await configurations.group_of(conn, row.configuration_id) if row.configuration_id else None
    version = await version_by_id(conn, row.datastore_version_id)
    return facts_in(row, version, group, await resources.of(conn, instance_id))


def facts_in(
    row: Row[Any],
    version: DatastoreVersion,
    group: ConfigurationGroup | None = None,
    there: tuple[Resource, ...] = (),
) -> InstanceFacts:
    """The facts in a row of the table; of an instance that was just recorded there is no more."""
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
        addresses=row.addresses,
        locality=row.locality,
        configuration=group,
        resources=there,
        tls=row.tls,
        tls_before=row.tls_before,
        volume_used_bytes=row.volume_used_bytes,
        volume_total_bytes=row.volume_total_bytes,
    )


async def with_backups(conn: AsyncConnection, member: AdmittedMember) -> AdmittedMember:
    """A member with the backup that it is made from, and the one of it that is not complete."""
    restores, unfinished = await backups.of_member(conn, member.instance.id)
    return member.model_copy(update={"restores": restores, "backup": unfinished})


def missing(instance_id: UUID) -> NotFound:
    """Trove's sentence for an instance that the caller does not have."""
    return NotFound(f"Resource {instance_id} cannot be found.")
