"""What the API reads: pages that lose and repeat nothing, names, operations with their steps."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID, uuid4

import pytest

from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind, OperationState
from contract.ports.records import QuotaChange
from records.reads import Reader, Scope
from records.views import Page
from tests.records.runbook_driver import Driver


@dataclass
class Project:
    """A project without quota, and its instances."""

    id: str
    driver: Driver
    reader: Reader

    async def created(self, name: str = "db") -> UUID:
        """One more instance."""
        return (await self.driver.created(self.id, name=name)).instance_id

    async def deleted(self, instance_id: UUID) -> None:
        """One instance less."""
        [row] = await self.driver.sql("SELECT project_id FROM instances WHERE id = :id", id=instance_id)
        assert row["project_id"] == self.id
        caller = (await self.driver.creation(self.id)).caller
        deletion = await self.driver.records.admit(self.driver.request(OperationKind.DELETE, instance_id, caller))
        await self.driver.done(deletion, OperationKind.DELETE, deleted=True)

    async def pages(self, limit: int, *, deleted: bool = False) -> list[Page]:
        """All pages, each asked for with the last one's marker."""
        scope, found = Scope(self.id, deleted), list[Page]()
        while not found or found[-1].marker is not None:
            marker = UUID(found[-1].marker) if found and found[-1].marker else None
            found.append(await self.reader.list_instances(scope, limit, marker))
            assert len(found) < 50, "the pages do not end"
        return found


@pytest.fixture
async def project(driver: Driver, reader: Reader) -> Project:
    """A project of the test's own."""
    made = Project(f"p-{uuid4()}", driver, reader)
    await driver.records.set_quotas(QuotaChange(project_id=made.id, limits={"instances": -1, "volumes": -1}))
    return made


def ids(pages: list[Page]) -> list[UUID]:
    """The instances on all pages."""
    return [each.id for page in pages for each in page.instances]


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (6, [6]), (100, [6])])
async def test_pages_are_cut_by_id(project: Project, limit: int, sizes: list[int]) -> None:
    made = [await project.created() for _ in range(6)]
    pages = await project.pages(limit)
    assert [len(page.instances) for page in pages] == sizes
    assert sorted(ids(pages)) == sorted(made)
    for page in pages[:-1]:
        assert page.marker == str(max(each.id for each in page.instances))
    for earlier, later in pairwise(pages):
        assert max(each.id for each in earlier.instances) < min(each.id for each in later.instances)


async def test_inside_a_page_the_youngest_comes_first(project: Project) -> None:
    made = [await project.created() for _ in range(6)]
    assert ids(await project.pages(100)) == made[::-1]
    for page in await project.pages(3):
        assert [each.id for each in page.instances] == [each for each in made[::-1] if each in ids([page])]


async def test_an_empty_project_is_one_empty_page(project: Project) -> None:
    assert await project.pages(5) == [Page([], None)]


async def test_pages_lose_and_repeat_nothing_while_others_are_inserted(project: Project) -> None:
    before = [await project.created() for _ in range(12)]
    between: list[UUID] = []
    stop = asyncio.Event()

    async def insert() -> None:
        while not stop.is_set() and len(between) < 100:  # a quick machine makes more than the pages below
            between.append(await project.created())

    inserting = asyncio.create_task(insert())
    try:
        for number in range(100):
            if number >= 5 and len(between) > 5:  # on a slow machine the pages come before the inserts
                break
            seen: list[UUID] = []
            marker: UUID | None = None
            for _ in range(100):
                page = await project.reader.list_instances(Scope(project.id), 3, marker)
                seen += ids([page])
                if page.marker is None:
                    break
                marker = UUID(page.marker)
                await asyncio.sleep(0.02)
            assert len(seen) == len(set(seen))
            assert set(before) <= set(seen)
            assert set(seen) <= await _all(project)
    finally:
        stop.set()
        await inserting
    assert len(between) > 5
    assert sorted(ids(await project.pages(3))) == sorted([*before, *between])


async def _all(project: Project) -> set[UUID]:
    rows = await project.driver.sql("SELECT id FROM instances WHERE project_id = :p", p=project.id)
    return {each["id"] for each in rows}


async def test_a_page_after_an_instance_that_was_deleted_meanwhile_is_whole(project: Project) -> None:
    made = sorted([await project.created() for _ in range(5)])
    first = await project.reader.list_instances(Scope(project.id), 2)
    await project.deleted(made[1])  # the marker's own
    rest = await project.reader.list_instances(Scope(project.id), 10, UUID(first.marker or ""))
    assert sorted(ids([rest])) == made[2:]


async def test_a_project_sees_its_own_and_an_administrator_everybodys(project: Project, reader: Reader) -> None:
    mine = await project.created()
    other = (await project.driver.created()).instance_id
    assert ids(await project.pages(10)) == [mine]
    assert {mine, other} <= set(ids([await reader.list_instances(Scope(None), 10_000)]))
    assert await reader.get_instance(str(other), Scope(project.id)) is None
    assert await reader.get_instance(str(other), Scope(None)) is not None


async def test_deleted_ones_are_seen_only_where_they_are_asked_for(project: Project, reader: Reader) -> None:
    kept, gone = await project.created("kept"), await project.created("gone")
    await project.deleted(gone)
    assert ids(await project.pages(10)) == [kept]
    assert ids(await project.pages(10, deleted=True)) == [gone]
    for wanted in (str(gone), "gone"):
        assert await reader.get_instance(wanted, Scope(project.id)) is None
        found = await reader.get_instance(wanted, Scope(project.id, deleted=True))
        assert found is not None
        assert (found.id, found.deleted, found.status) == (gone, True, "SHUTDOWN")
    assert await reader.get_instance(str(kept), Scope(project.id, deleted=True)) is None


async def test_an_instance_is_found_by_its_name_where_that_is_unique(project: Project, reader: Reader) -> None:
    one = await project.created("one")
    two = [await project.created("two") for _ in range(2)]
    await project.driver.created(name="one")  # of another project
    found = await reader.get_instance("one", Scope(project.id))
    assert found is not None
    assert found.id == one
    assert await reader.get_instance("one", Scope(None)) is None
    assert await reader.get_instance("two", Scope(project.id)) is None
    assert await reader.get_instance("three", Scope(project.id)) is None
    await project.deleted(two[0])
    last = await reader.get_instance("two", Scope(project.id))
    assert last is not None
    assert last.id == two[1]


async def test_an_instance_is_seen_with_the_names_of_its_datastore(project: Project, reader: Reader) -> None:
    found = await reader.get_instance(str(await project.created()), Scope(project.id))
    assert found is not None
    assert (found.datastore, found.datastore_version, found.manager) == ("postgresql", "15", "postgresql")
    assert (found.status, found.flavor_id, found.volume_gib, found.volume_type) == ("ACTIVE", "1", 2, "lvm")
    assert (found.created.utcoffset() is not None, found.addresses) == (True, [])


async def test_operations_come_with_their_steps_in_order(project: Project, reader: Reader) -> None:
    driver, creation = project.driver, await project.driver.creation(project.id)
    admission = await driver.records.admit(creation)
    names = [f"step {number}" for number in range(12, 0, -1)]  # neither by name nor by number of letters
    for ended, begins in zip([None, *names], [*names, None], strict=True):
        await driver.note(admission, ended=ended, begins=begins)
    await driver.done(admission, OperationKind.CREATE)
    restart = await driver.records.admit(driver.request(OperationKind.RESTART, creation.instance_id, creation.caller))
    await driver.note(restart, begins="stop datastore")
    await driver.note(restart, ended="stop datastore", begins="start datastore")

    newest, oldest = await reader.list_operations(creation.instance_id)
    assert (newest.kind, newest.state, oldest.kind, oldest.state) == ("restart", "RUNNING", "create", "DONE")
    assert [each.name for each in oldest.steps] == names
    assert {each.outcome for each in oldest.steps} == {"DONE"}
    assert [(each.name, each.outcome) for each in newest.steps] == [
        ("stop datastore", "DONE"),
        ("start datastore", None),
    ]
    assert [each.started for each in oldest.steps] == sorted(each.started for each in oldest.steps)
    assert await reader.get_operation(restart.operation_id, creation.instance_id) == newest
    assert await reader.get_operation(uuid4(), creation.instance_id) is None
    assert await reader.get_operation(restart.operation_id, uuid4()) is None
    assert await reader.list_operations(creation.instance_id, limit=1) == [newest]
    assert await reader.list_operations(uuid4()) == []


async def test_the_operation_that_runs_on_a_group_is_named(project: Project, reader: Reader) -> None:
    instance_id = await project.created()
    assert await reader.running_kind(instance_id) is None
    caller = (await project.driver.creation(project.id)).caller
    restart = await project.driver.records.admit(project.driver.request(OperationKind.RESTART, instance_id, caller))
    assert await reader.running_kind(instance_id) == "restart"
    await project.driver.close(restart, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no")
    assert await reader.running_kind(instance_id) is None
