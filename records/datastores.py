"""The catalogue of datastores and versions: seeded by operators, read by everybody."""

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import yaml
from sqlalchemy import ColumnElement, Row, Select, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.datastores import DATASTORES
from contract.domain.errors import BadRequest, NotFound
from contract.domain.fact import Fact
from contract.domain.instance import DatastoreVersion, InstanceSpec
from records.tables import datastore_versions, datastores


class CatalogueVersion(Fact):
    """One version in the catalogue's file; `image` is a Glance name or id."""

    name: str
    number: str | None = None
    image: str = ""
    image_tags: tuple[str, ...] = ()
    active: bool = True
    default: bool = False
    flavors: tuple[str, ...] | None = None
    """Ids or names of the flavors that it may be ordered with; none: all."""
    volume_types: tuple[str, ...] | None = None
    """Names of the volume types that it may be ordered with; none: all."""


class CatalogueDatastore(Fact):
    """One datastore in the catalogue's file; `manager` names the engine's facts."""

    name: str
    manager: str
    versions: tuple[CatalogueVersion, ...]


class Catalogue(Fact):
    """The catalogue's file."""

    datastores: tuple[CatalogueDatastore, ...]


def read_catalogue(path: Path) -> Catalogue:
    """Read a YAML file; ValueError when it names an engine that we have no driver for."""
    catalogue = Catalogue.model_validate(yaml.safe_load(path.read_text()))
    unknown = [each.manager for each in catalogue.datastores if each.manager not in DATASTORES]
    if unknown:
        raise ValueError(f"no such engine: {', '.join(unknown)}; there are {', '.join(sorted(DATASTORES))}")
    return catalogue


async def seed(conn: AsyncConnection, catalogue: Catalogue) -> None:
    """Make the records say what the file says. Versions that the file leaves out stay as they are."""
    for datastore in catalogue.datastores:
        datastore_id = await datastore_named(conn, datastore.name)
        for version in datastore.versions:
            version_id = await _put_version(conn, datastore_id, datastore, version)
            if version.default:
                changed = update(datastores).where(datastores.c.id == datastore_id)
                await conn.execute(changed.values(default_version_id=version_id))


async def datastore_named(conn: AsyncConnection, name: str) -> UUID:
    """The id of the datastore of a name; it is made where there is none."""
    wanted = upsert(datastores).values(id=uuid5(NAMESPACE_URL, f"coffer:datastore:{name}"), name=name)
    kept = wanted.on_conflict_do_update(index_elements=["name"], set_={"removed": False})
    return UUID(str((await conn.execute(kept.returning(datastores.c.id))).scalar_one()))


async def _put_version(
    conn: AsyncConnection, datastore_id: UUID, datastore: CatalogueDatastore, version: CatalogueVersion
) -> UUID:
    number = version.number or version.name
    version_id = uuid5(NAMESPACE_URL, f"coffer:version:{datastore.name}:{version.name}:{number}")
    values = {
        "manager": datastore.manager,
        "image": version.image,
        "image_tags": list(version.image_tags),
        "active": version.active,
        "flavors": list(version.flavors) if version.flavors is not None else None,
        "volume_types": list(version.volume_types) if version.volume_types is not None else None,
    }
    statement = upsert(datastore_versions).values(
        id=version_id, datastore_id=datastore_id, name=version.name, number=number, **values
    )
    there = statement.on_conflict_do_update(
        index_elements=["datastore_id", "name", "number"], index_where=~datastore_versions.c.removed, set_=values
    )
    return UUID(str((await conn.execute(there.returning(datastore_versions.c.id))).scalar_one()))


async def find_version(conn: AsyncConnection, spec: InstanceSpec) -> DatastoreVersion:
    """Look up what a spec names by name or id; without a version the datastore's default.

    NotFound for a datastore, BadRequest for a version that does not exist, is inactive or not unique: as in Trove.
    """
    named = select(datastores).where(_is(datastores.c, spec.datastore), ~datastores.c.removed)
    datastore = (await conn.execute(named)).one_or_none()
    if datastore is None:
        raise NotFound(f"Datastore '{spec.datastore}' cannot be found.")
    wanted = spec.datastore_version or (str(datastore.default_version_id) if datastore.default_version_id else None)
    if wanted is None:
        raise BadRequest(f"Datastore '{datastore.name}' has no default version; please name one.")
    columns = datastore_versions.c
    found = (
        await conn.execute(
            select(datastore_versions).where(columns.datastore_id == datastore.id, _is(columns, wanted), columns.active)
        )
    ).all()
    if len(found) != 1:
        what = "cannot be found" if not found else "is not unique"
        raise BadRequest(f"Datastore version '{wanted}' {what}.")
    return version_of(found[0], datastore.name)


async def version_by_id(conn: AsyncConnection, version_id: UUID) -> DatastoreVersion:
    """The version that an instance has, active or not."""
    row = (await conn.execute(_by_id(version_id))).one()
    return version_of(row, row.datastore)


async def offered_version(conn: AsyncConnection, version_id: UUID) -> DatastoreVersion | None:
    """The version, while it may be ordered; who changes or removes it waits until the transaction has ended."""
    v = datastore_versions.c
    offered = _by_id(version_id).where(v.active, ~v.removed).with_for_update(read=True, of=datastore_versions)
    row = (await conn.execute(offered)).one_or_none()
    return version_of(row, row.datastore) if row is not None else None


def _by_id(version_id: UUID) -> Select[Any]:
    joined = datastore_versions.join(datastores, datastores.c.id == datastore_versions.c.datastore_id)
    statement = select(datastore_versions, datastores.c.name.label("datastore")).select_from(joined)
    return statement.where(datastore_versions.c.id == version_id)


def _is(columns: Any, wanted: str) -> ColumnElement[bool]:
    """A condition for an id or a name."""
    try:
        found: ColumnElement[bool] = columns.id == UUID(wanted)
    except ValueError:
        found = columns.name == wanted
    return found


def version_of(row: Row[tuple[object, ...]], datastore: str) -> DatastoreVersion:
    """A version's row as the fact that orders carry."""
    return DatastoreVersion(
        id=row.id,
        name=row.name,
        number=row.number,
        datastore_id=row.datastore_id,
        datastore=datastore,
        manager=row.manager,
        image=row.image,
        image_tags=tuple(row.image_tags),
        flavors=None if row.flavors is None else tuple(row.flavors),
        volume_types=None if row.volume_types is None else tuple(row.volume_types),
    )
