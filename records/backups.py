"""Backups and strategies: what there is, where it goes, and what is charged for it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.backups import RUNNING, BackupChange, BackupFacts, BackupStatus, NewBackup
from contract.domain.errors import BadRequest, Busy, NotFound
from contract.domain.instance import InstanceFacts
from contract.ports.backup_records import BackupLeft, BackupName, Strategy
from records import quotas
from records.tables import backup_strategies, backups, datastore_versions, instances

_b, _i, _s, _v = backups.c, instances.c, backup_strategies.c, datastore_versions.c
NOW = func.clock_timestamp()
GIB = 2**30
_OPEN = [each.value for each in RUNNING]


async def make(conn: AsyncConnection, facts: InstanceFacts, new: NewBackup, defaults: Mapping[str, int]) -> None:
    """Write down a backup that is to be made, and charge the instance's project for it."""
    await quotas.charge(conn, facts.project_id, new.id, {"backups": 1}, defaults)
    values = {"id": new.id, "project_id": facts.project_id, "instance_id": facts.id, "name": new.name,
              "description": new.description, "status": BackupStatus.NEW.value,
              "datastore_version_id": facts.version.id, "place": new.place.model_dump(mode="json")}  # fmt: skip
    await conn.execute(upsert(backups).values(values))


async def of_member(conn: AsyncConnection, instance_id: UUID) -> tuple[BackupFacts | None, BackupFacts | None]:
    """The backup that an instance is being made from; and the first of it that is not complete, which an operation makes or
    has left when it was interrupted."""
    restores = select(_i.restores_backup_id).where(_i.id == instance_id).scalar_subquery()
    own = (_b.instance_id == instance_id) & _b.status.in_(_OPEN)
    is_source = func.coalesce(_b.id == restores, False).label("is_source")
    found = (await conn.execute(select(backups, is_source).where(own | is_source).order_by(_b.created))).all()
    source = next((_facts(row) for row in found if row.is_source), None)
    return source, next((_facts(row) for row in found if not row.is_source), None)


async def hold_for_restore(conn: AsyncConnection, facts: InstanceFacts, backup_id: UUID) -> None:
    """Have an instance that is being made refer to a backup, so that nobody deletes it; refuse one that it cannot have."""
    statement = select(backups, _v.number, _v.manager).join(datastore_versions, _v.id == _b.datastore_version_id)
    statement = statement.where(_b.id == backup_id).with_for_update(read=True, of=backups)
    row = (await conn.execute(statement)).one_or_none()
    if row is None or row.project_id != facts.project_id or row.deleting:
        raise NotFound(f"Backup {backup_id} cannot be found.")
    if row.status != BackupStatus.COMPLETED.value:
        raise BadRequest(f"Backup {backup_id} is not complete: its status is {row.status}.")
    if (row.manager, row.number) != (facts.version.manager, facts.version.number):
        raise BadRequest(f"Backup {backup_id} is of {row.manager} {row.number}, the instance is to be of "
                         f"{facts.version.manager} {facts.version.number}.")  # fmt: skip
    if row.size_bytes > facts.volume_gib * GIB:
        raise BadRequest(f"Backup {backup_id} is larger than the volume.")
    await conn.execute(update(instances).where(_i.id == facts.id).values(restores_backup_id=backup_id))


async def learn(conn: AsyncConnection, instance_id: UUID, change: BackupChange) -> None:
    """Write what has become of a backup that is being made."""
    values = change.model_dump(mode="json", exclude={"id"}, exclude_none=True)
    mine = (_b.id == change.id, _b.instance_id == instance_id, _b.status.in_(_OPEN))
    await conn.execute(update(backups).where(*mine).values(**values, updated=NOW))


async def begin_deletion(conn: AsyncConnection, which: BackupName) -> BackupFacts:
    """Refuse what is being made or restored from; of the rest nobody can restore from now on."""
    row = (await conn.execute(select(backups).where(_b.id == which.id).with_for_update())).one_or_none()
    if row is None or not (which.caller.is_admin or row.project_id == which.caller.project_id):
        raise NotFound(f"Backup {which.id} cannot be found.")
    if row.status in _OPEN:
        raise Busy(f"Backup {which.id} is running: its status is {row.status}.")
    if (await conn.execute(select(exists().where(_i.restores_backup_id == which.id)))).scalar():
        raise Busy(f"Backup {which.id} is in use: an instance is being made from it.")
    await conn.execute(update(backups).where(_b.id == which.id).values(deleting=True))
    return _facts(row)


async def forget(conn: AsyncConnection, backup_id: UUID) -> None:
    """Remove a backup's record, and give back what is charged for it; content where it is gone."""
    await conn.execute(delete(backups).where(_b.id == backup_id, _b.deleting))
    await quotas.release(conn, backup_id)


async def keep(conn: AsyncConnection, left: BackupLeft) -> None:
    """Say why a backup could not be deleted. Nobody can restore from it: some of its objects may be gone."""
    failed = {"status": BackupStatus.DELETE_FAILED.value, "reason": left.reason, "updated": NOW}
    await conn.execute(update(backups).where(_b.id == left.id, _b.deleting).values(deleting=False, **failed))


async def set_strategy(conn: AsyncConnection, wanted: Strategy) -> None:
    """Write where backups go that name no container; of an instance that the project has."""
    if wanted.instance_id is not None:
        mine = (_i.id == wanted.instance_id, _i.project_id == wanted.project_id, ~_i.deleted)
        if (await conn.execute(select(_i.id).where(*mine))).first() is None:
            raise NotFound(f"Resource {wanted.instance_id} cannot be found.")
    key = {"project_id": wanted.project_id, "instance_id": _of_instance(wanted)}
    statement = upsert(backup_strategies).values(**key, container=wanted.container)
    await conn.execute(statement.on_conflict_do_update(index_elements=list(key), set_={"container": wanted.container}))


async def remove_strategy(conn: AsyncConnection, which: Strategy) -> None:
    """Forget it; content where there is none."""
    mine = (_s.project_id == which.project_id, _s.instance_id == _of_instance(which))
    await conn.execute(delete(backup_strategies).where(*mine))


def _of_instance(strategy: Strategy) -> str:
    return str(strategy.instance_id) if strategy.instance_id else ""


def _facts(row: Row[Any]) -> BackupFacts:
    return BackupFacts(id=row.id, instance_id=row.instance_id, project_id=row.project_id, status=row.status,
                       place=row.place, key_id=row.key_id, checksum=row.checksum)  # fmt: skip
