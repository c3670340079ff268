"""The catalogue says what its file says, and forgets nothing that the file leaves out."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.domain.datastores import DATASTORES
from contract.domain.errors import BadRequest, NotFound
from contract.domain.instance import DatastoreVersion, InstanceSpec
from records.datastores import find_version, read_catalogue, seed
from records.engine import AsyncEngine
from records.reads import Reader
from records.views import DatastoreView, VersionView

FIFTEEN = {"name": "15", "image": "pg-15", "image_tags": ["a", "b"], "default": True}
SIXTEEN = {"name": "16", "image": "pg-16"}
MARIADB = {"name": "mariadb", "manager": "mariadb", "versions": [{"name": "10.11", "number": "10.11.6"}]}


def written(folder: Path, *versions: dict[str, Any], manager: str = "postgresql") -> Path:
    """A catalogue's file with these versions of PostgreSQL, and MariaDB."""
    path = folder / "catalogue.yaml"
    postgresql = {"name": "postgresql", "manager": manager, "versions": list(versions)}
    path.write_text(yaml.safe_dump({"datastores": [MARIADB, postgresql]}))
    return path


@pytest.fixture
async def seeded(engine: AsyncEngine, tmp_path: Path) -> AsyncEngine:
    """Two versions of PostgreSQL, one of MariaDB; nothing of what another test has seeded."""
    async with engine.begin() as conn:
        await conn.exec_driver_sql("DELETE FROM datastores")
    await seed_with(engine, written(tmp_path, FIFTEEN, SIXTEEN))
    return engine


async def seed_with(engine: AsyncEngine, path: Path) -> None:
    """As an operator does."""
    async with engine.begin() as conn:
        await seed(conn, read_catalogue(path))


async def found(engine: AsyncEngine, datastore: str, version: str | None = None) -> DatastoreVersion:
    """What an order gets that names this."""
    async with engine.connect() as conn:
        spec = InstanceSpec(name="db", datastore=datastore, datastore_version=version, flavor="1", volume_gib=1)
        return await find_version(conn, spec)


def postgresql_of(listed: list[DatastoreView]) -> dict[str, VersionView]:
    """PostgreSQL's versions by name."""
    return {each.name: each for view in listed if view.name == "postgresql" for each in view.versions}


async def test_it_says_what_the_file_says(seeded: AsyncEngine, reader: Reader) -> None:
    mariadb, postgresql = await reader.list_datastores(inactive=True)
    assert [each.name for each in postgresql.versions] == ["15", "16"]
    assert (postgresql.versions[0].image, postgresql.versions[0].image_tags) == ("pg-15", ["a", "b"])
    assert postgresql.default_version_id == postgresql.versions[0].id
    assert (mariadb.versions[0].name, mariadb.versions[0].number) == ("10.11", "10.11.6")
    assert mariadb.default_version_id is None


async def test_seeded_twice_it_is_the_same(seeded: AsyncEngine, reader: Reader, tmp_path: Path) -> None:
    before = await reader.list_datastores(inactive=True)
    await seed_with(seeded, written(tmp_path, FIFTEEN, SIXTEEN))
    assert await reader.list_datastores(inactive=True) == before


async def test_a_changed_file_changes_it(seeded: AsyncEngine, reader: Reader, tmp_path: Path) -> None:
    before = postgresql_of(await reader.list_datastores(inactive=True))
    changed = {"name": "15", "image": "pg-15-new", "active": False}
    await seed_with(seeded, written(tmp_path, changed, {**SIXTEEN, "default": True}))
    after = postgresql_of(await reader.list_datastores(inactive=True))
    assert (after["15"].image, after["15"].image_tags, after["15"].active) == ("pg-15-new", [], False)
    assert {each: after[each].id for each in after} == {each: before[each].id for each in before}
    assert (await found(seeded, "postgresql")).name == "16"
    assert list(postgresql_of(await reader.list_datastores(inactive=False))) == ["16"]


async def test_versions_left_out_stay(seeded: AsyncEngine, reader: Reader, tmp_path: Path) -> None:
    before = postgresql_of(await reader.list_datastores(inactive=True))
    await seed_with(seeded, written(tmp_path, {"name": "17", "image": "pg-17"}))
    after = postgresql_of(await reader.list_datastores(inactive=True))
    assert sorted(after) == ["15", "16", "17"]
    assert (after["15"], after["16"]) == (before["15"], before["16"])
    assert (await found(seeded, "postgresql")).name == "15"  # the default, too


async def test_an_unknown_manager_is_refused_and_nothing_changes(
    seeded: AsyncEngine, reader: Reader, tmp_path: Path
) -> None:
    before = await reader.list_datastores(inactive=True)
    with pytest.raises(ValueError, match=f"no such engine: oracle; there are {', '.join(sorted(DATASTORES))}"):
        await seed_with(seeded, written(tmp_path, FIFTEEN, manager="oracle"))
    assert await reader.list_datastores(inactive=True) == before


async def test_a_version_is_found_by_name_and_by_id(seeded: AsyncEngine) -> None:
    by_name = await found(seeded, "postgresql", "16")
    assert (by_name.name, by_name.number, by_name.image, by_name.manager) == ("16", "16", "pg-16", "postgresql")
    assert await found(seeded, str(by_name.datastore_id), str(by_name.id)) == by_name
    assert (await found(seeded, "postgresql")).name == "15"


async def test_what_cannot_be_ordered_is_refused_with_a_sentence(seeded: AsyncEngine, tmp_path: Path) -> None:
    await seed_with(seeded, written(tmp_path, {**SIXTEEN, "active": False}, {"name": "15", "number": "15.1"}))
    mariadb = await found(seeded, "mariadb", "10.11")
    with pytest.raises(NotFound, match="Datastore 'oracle' cannot be found"):
        await found(seeded, "oracle")
    with pytest.raises(BadRequest, match="'mariadb' has no default version"):
        await found(seeded, "mariadb")
    for version, why in (("9", "cannot be found"), ("16", "cannot be found"), ("15", "is not unique")):
        with pytest.raises(BadRequest, match=f"Datastore version '{version}' {why}"):
            await found(seeded, "postgresql", version)
    with pytest.raises(BadRequest, match="cannot be found"):  # of another datastore
        await found(seeded, "postgresql", str(mariadb.id))
