"""What an instance has in OpenStack: kept by role and generation, and what the records name is no leftover."""

import pytest

from contract.domain.operation import Admission, OperationKind, ResourceChanges
from contract.domain.resources import Resource, ResourceKind
from records.reads import Reader, Scope
from records.sweeps import wanted
from tests.records.runbook_driver import ITS_OWN, Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVER, VOLUME, PORT = ResourceKind.SERVER, ResourceKind.VOLUME, ResourceKind.PORT
SECOND = (
    Resource(kind=SERVER, generation=2, id="s2"),
    Resource(kind=VOLUME, role="copy", id="copy"),
    Resource(kind=VOLUME, generation=2, id="v2"),
    Resource(kind=PORT, generation=2),  # planned
)
FIRST = tuple(Resource(kind=kind, id=f"{kind.value[0]}1") for kind in ResourceKind)


async def with_two_of_each(driver: Driver) -> Admission:
    """An instance that serves, while a restart of it learns of more resources."""
    created = await driver.created()
    restart = await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    await driver.note(restart, begins="a", learnt=ResourceChanges(instance_id=ITS_OWN, resources=(*FIRST, *SECOND)))
    return restart


async def test_the_newest_of_the_main_role_is_what_the_instance_runs_on(driver: Driver, reader: Reader) -> None:
    restart = await with_two_of_each(driver)
    view = await reader.get_instance(str(restart.members[0].instance.id), Scope(None))
    assert view is not None
    assert (view.server_id, view.volume_id) == ("s2", "v2")
    state = await driver.records.get_guest_state(restart.members[0].instance.id)
    assert (state.server_id, state.volume_id) == ("s2", "v2")


async def test_nothing_that_is_named_is_a_leftover(driver: Driver) -> None:
    restart = await with_two_of_each(driver)
    await driver.done(restart, OperationKind.RESTART)
    instance = str(restart.members[0].instance.id)
    async with driver.engine.connect() as conn:
        stays = await wanted(conn)
    for each in (*FIRST, *SECOND):
        assert stays.keeps(each.kind, str(each.id), instance) == (each.id is not None)
    assert not any(stays.keeps(kind, "zombie", instance) for kind in ResourceKind)
    assert stays.keeps("security group", "any", instance)


async def test_what_is_gone_is_forgotten_and_nothing_else(driver: Driver) -> None:
    restart = await with_two_of_each(driver)
    await driver.note(restart, begins="b", learnt=ResourceChanges(instance_id=ITS_OWN, gone=("s1", "v1", "nobody's")))
    left = await driver.resources(restart.members[0].instance.id)
    assert left == {"server main 2": "s2", "volume main 2": "v2", "volume copy 1": "copy", "port main 1": "p1",
                    "port main 2": None}  # fmt: skip


async def test_a_deletion_is_told_all_of_it(driver: Driver) -> None:
    restart = await with_two_of_each(driver)
    owner = (await driver.instance(restart.members[0].instance.id))["project_id"]
    caller = (await driver.creation(owner)).caller
    deletion = await driver.records.admit(driver.request(OperationKind.DELETE, restart.members[0].instance.id, caller))
    parts = [part for kind in ResourceKind for part in deletion.members[0].instance.belongings.parts(kind)]
    assert {(part.kind, part.role, part.generation) for part in parts} == {
        (each.kind, each.role, each.generation) for each in (*FIRST, *SECOND)
    }
