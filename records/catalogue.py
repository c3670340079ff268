"""Changes of the catalogue that administrators ask for. What instances point at stays as a row, removed."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.catalogue import CatalogueEntry, NewVersion, VersionChange
from contract.domain.datastores import DATASTORES
from contract.domain.errors import AlreadyExists, BadRequest, NotFound
from records.datastores import datastore_named
from records.tables import backups, configurations, datastore_versions, datastores, instances

_v = datastore_versions.c
LOCK = select(func.pg_advisory_xact_lock(func.hashtextextended("catalogue", 0)))  # one change at a time


async def create_version(conn: AsyncConnection, new: NewVersion) -> None:
    """Add a version; AlreadyExists for a name and number that the datastore has. Said twice, it is there once."""
    await conn.execute(LOCK)
    if (await conn.execute(select(_v.id).where(_v.id == new.id))).first():
        return
    _require_manager(new.manager)
    if not (new.image or new.image_tags):
        raise BadRequest("image or image_tags are needed.")
    datastore_id = await datastore_named(conn, new.datastore)
    await _refuse_double(conn, datastore_id, new.name, new.number)
    values = {**new.model_dump(exclude={"datastore", "default"}), "datastore_id": datastore_id,
              "image_tags": list(new.image_tags), "packages": list(new.packages)}  # fmt: skip
    await conn.execute(upsert(datastore_versions).values(values))
    if new.default:
        await _set_default(conn, datastore_id, new.id)


async def change_version(conn: AsyncConnection, change: VersionChange) -> None:
    """Change what is named; the manager only where nobody has the version."""
    await conn.execute(LOCK)
    row = await _version(conn, change.id)
    values: dict[str, Any] = change.model_dump(exclude={"id", "default"}, exclude_none=True)
    if "manager" in values:
        _require_manager(values["manager"])
        if values["manager"] != row.manager:
            await _refuse_used(conn, row)
    if values.get("name", row.name) != row.name:
        await _refuse_double(conn, row.datastore_id, values["name"], row.number)
    if not (values.get("image", row.image) or values.get("image_tags", row.image_tags)):
        raise BadRequest("image or image_tags are needed.")
    for name in ("image_tags", "packages"):
        if name in values:
            values[name] = list(values[name])
    if values:
        await conn.execute(update(datastore_versions).where(_v.id == change.id).values(values))
    if change.default:
        await _set_default(conn, row.datastore_id, change.id)
    elif change.default is False:
        await _clear_default(conn, change.id)


async def delete_version(conn: AsyncConnection, entry: CatalogueEntry) -> None:
    """Remove a version that no instance, configuration group or backup has. Of one that is gone already nothing is said."""
    await conn.execute(LOCK)
    known = (await conn.execute(select(_v.removed).where(_v.id == entry.id))).scalar()
    if known:
        return
    row = await _version(conn, entry.id)
    await _refuse_used(conn, row)
    await _clear_default(conn, entry.id)
    await conn.execute(update(datastore_versions).where(_v.id == entry.id).values(removed=True, active=False))


async def delete_datastore(conn: AsyncConnection, entry: CatalogueEntry) -> None:
    """Remove a datastore without versions."""
    await conn.execute(LOCK)
    d = datastores.c
    name = (await conn.execute(select(d.name).where(d.id == entry.id))).scalar()
    if name is None:
        raise NotFound(f"Datastore '{entry.id}' cannot be found.")
    if (await conn.execute(select(_v.id).where(_v.datastore_id == entry.id, ~_v.removed))).first():
        raise BadRequest(f"Datastore '{name}' has versions; delete them first.")
    await conn.execute(update(datastores).where(d.id == entry.id).values(removed=True, default_version_id=None))


async def _version(conn: AsyncConnection, version_id: UUID) -> Row[Any]:
    row = (await conn.execute(select(datastore_versions).where(_v.id == version_id, ~_v.removed))).one_or_none()
    if row is None:
        raise BadRequest(f"Datastore version '{version_id}' cannot be found.")
    return row


def _require_manager(manager: str) -> None:
    if manager not in DATASTORES:
        raise BadRequest(f"There is no datastore manager '{manager[:80]}'; there are {', '.join(sorted(DATASTORES))}.")


async def _refuse_double(conn: AsyncConnection, datastore_id: UUID, name: str, number: str) -> None:
    same = (_v.datastore_id == datastore_id, _v.name == name, _v.number == number, ~_v.removed)
    if (await conn.execute(select(_v.id).where(*same))).first():
        raise AlreadyExists(f"Datastore version '{name}' with the number '{number}' exists already.")


async def _refuse_used(conn: AsyncConnection, row: Row[Any]) -> None:
    i, c = instances.c, configurations.c
    # an admission that has read the version as active waits for this transaction, or this one for it
    await conn.execute(select(_v.id).where(_v.id == row.id).with_for_update())
    users = {
        "instance(s)": select(func.count()).where(i.datastore_version_id == row.id, ~i.deleted),
        "configuration group(s)": select(func.count()).where(c.datastore_version_id == row.id),
        "backup(s)": select(func.count()).where(backups.c.datastore_version_id == row.id),
    }
    counted = [((await conn.execute(count)).scalar_one(), noun) for noun, count in users.items()]
    if used := [f"{number} {noun}" for number, noun in counted if number]:
        raise BadRequest(f"Datastore version '{row.name}' is in use by {' and '.join(used)}.")


async def _set_default(conn: AsyncConnection, datastore_id: UUID, version_id: UUID) -> None:
    await conn.execute(update(datastores).where(datastores.c.id == datastore_id).values(default_version_id=version_id))


async def _clear_default(conn: AsyncConnection, version_id: UUID) -> None:
    mine = datastores.c.default_version_id == version_id
    await conn.execute(update(datastores).where(mine).values(default_version_id=None))
