"""What administrators change of the catalogue."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from activities.configurations import PostgresConfigurations
from contract.domain.catalogue import CatalogueEntry, NewVersion, VersionChange
from contract.domain.errors import AlreadyExists, BadRequest, NotFound
from contract.domain.operation import Caller
from contract.ports.configurations import ConfigurationName, NewConfiguration
from records import catalogue
from records.engine import AsyncEngine
from records.tables import datastore_versions, datastores
from tests.records.runbook_driver import Driver
from tests.records.test_operations import building


def new(datastore: str, name: str, **more: object) -> NewVersion:
    """A version of MariaDB."""
    return NewVersion.model_validate(
        {
            "id": uuid4(),
            "datastore": datastore,
            "name": name,
            "number": name,
            "manager": "mariadb",
            "image": "i",
            **more,
        }
    )


@pytest.fixture
def datastore() -> str:
    """The name of a datastore that no other test has."""
    return f"maria-{uuid4()}"


async def created(engine: AsyncEngine, *versions: NewVersion) -> None:
    """Create them, a transaction each."""
    for each in versions:
        async with engine.begin() as conn:
            await catalogue.create_version(conn, each)


async def changed(engine: AsyncEngine, version: NewVersion, **more: object) -> None:
    """Change one."""
    async with engine.begin() as conn:
        await catalogue.change_version(conn, VersionChange.model_validate({"id": version.id, **more}))


async def default_of(engine: AsyncEngine, datastore: str) -> UUID | None:
    """The default version of a datastore."""
    async with engine.connect() as conn:
        chosen = select(datastores.c.default_version_id).where(datastores.c.name == datastore)
        found: UUID | None = (await conn.execute(chosen)).scalar()
        return found


async def test_a_version_is_made_once_and_may_be_the_default(engine: AsyncEngine, datastore: str) -> None:
    one, two = new(datastore, "10.11", default=True), new(datastore, "11.8", image="", image_tags=("a", "b"))
    await created(engine, one, one, two)
    assert await default_of(engine, datastore) == one.id
    async with engine.connect() as conn:
        v = datastore_versions.c
        rows = (await conn.execute(select(v.name, v.image, v.image_tags).where(v.id.in_([one.id, two.id])))).all()
    assert {tuple(map(str, each)) for each in rows} == {("10.11", "i", "[]"), ("11.8", "", "['a', 'b']")}


@pytest.mark.parametrize(
    ("more", "error", "sentence"),
    [
        ({"manager": "oracle"}, BadRequest, "There is no datastore manager 'oracle'; there are mariadb, "),
        ({"image": ""}, BadRequest, "image or image_tags are needed."),
        ({}, AlreadyExists, "Datastore version '10.11' with the number '10.11' exists already."),
    ],
    ids=["manager", "image", "double"],
)
async def test_a_version_that_cannot_be_is_refused(
    engine: AsyncEngine, datastore: str, more: dict[str, object], error: type[Exception], sentence: str
) -> None:
    await created(engine, new(datastore, "10.11"))
    with pytest.raises(error) as refused:
        await created(engine, new(datastore, "10.11", **more))
    assert sentence in str(refused.value)


async def test_what_is_named_is_changed(engine: AsyncEngine, datastore: str) -> None:
    one, two = new(datastore, "10.11"), new(datastore, "11.8")
    await created(engine, one, two)
    await changed(engine, one, name="10.11-lts", image_tags=("lts",), packages=("p",), manager="mysql", default=True)
    await changed(engine, one)
    assert await default_of(engine, datastore) == one.id
    async with engine.connect() as conn:
        row = (await conn.execute(select(datastore_versions).where(datastore_versions.c.id == one.id))).one()
    assert (row.name, row.manager, row.image, list(row.image_tags), list(row.packages)) == (
        "10.11-lts", "mysql", "i", ["lts"], ["p"])  # fmt: skip
    await changed(engine, one, default=False)
    assert await default_of(engine, datastore) is None
    with pytest.raises(BadRequest, match="no datastore manager"):
        await changed(engine, one, manager="oracle")
    with pytest.raises(BadRequest, match="are needed"):
        await changed(engine, one, image="", image_tags=())
    with pytest.raises(BadRequest, match="cannot be found"):
        await changed(engine, new(datastore, "none"))


async def test_what_nobody_has_is_deleted_and_a_datastore_after_its_versions(
    engine: AsyncEngine, datastore: str
) -> None:
    one = new(datastore, "10.11", default=True)
    await created(engine, one)
    async with engine.connect() as conn:
        kept = (await conn.execute(select(datastores.c.id).where(datastores.c.name == datastore))).scalar_one()
    with pytest.raises(BadRequest, match="has versions"):
        async with engine.begin() as conn:
            await catalogue.delete_datastore(conn, CatalogueEntry(id=kept))
    for _ in range(2):
        async with engine.begin() as conn:
            await catalogue.delete_version(conn, CatalogueEntry(id=one.id))
    assert await default_of(engine, datastore) is None
    async with engine.begin() as conn:
        await catalogue.delete_datastore(conn, CatalogueEntry(id=kept))
    with pytest.raises(NotFound):
        async with engine.begin() as conn:
            await catalogue.delete_datastore(conn, CatalogueEntry(id=uuid4()))


async def test_what_an_instance_has_stays(engine: AsyncEngine, driver: Driver) -> None:
    version = (await building(driver)).members[0].instance.version
    with pytest.raises(BadRequest, match=r"is in use by [1-9][0-9]* instance"):
        async with engine.begin() as conn:
            await catalogue.delete_version(conn, CatalogueEntry(id=version.id))
    with pytest.raises(BadRequest, match=r"is in use by [1-9][0-9]* instance"):
        async with engine.begin() as conn:
            await catalogue.change_version(conn, VersionChange(id=version.id, manager="mysql"))


async def test_what_a_configuration_group_has_stays(engine: AsyncEngine, datastore: str) -> None:
    one = new(datastore, "10.11")
    await created(engine, one)
    groups = PostgresConfigurations(engine)
    caller = Caller(project_id="p", user_id="amy", request_id="req-1")
    group = NewConfiguration(id=uuid4(), caller=caller, name="g", datastore_version_id=one.id, values={})
    await groups.create_configuration(group)
    with pytest.raises(BadRequest, match=r"is in use by 1 configuration group\(s\)\.$"):
        async with engine.begin() as conn:
            await catalogue.delete_version(conn, CatalogueEntry(id=one.id))
    with pytest.raises(BadRequest, match="is in use by"):
        await changed(engine, one, manager="mysql")
    await groups.delete_configuration(ConfigurationName(id=group.id, caller=caller))
    async with engine.begin() as conn:
        await catalogue.delete_version(conn, CatalogueEntry(id=one.id))
    with pytest.raises(BadRequest, match="cannot be found"):
        await groups.create_configuration(group)
