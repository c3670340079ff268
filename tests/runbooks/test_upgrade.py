"""An upgrade ends with server and record on the new version, or both on the old one, over each of its steps."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import WorkflowFailureError

from contract.names import lock_id
from tests.runbooks.test_rebuild import NEW, OLD, STEPS, is_on, unwatched
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEFORE, AFTER = ("15", OLD), ("15-patched", NEW)


async def runs(world: World, instance_id: UUID, wanted: tuple[str, str]) -> None:
    """Record and server agree."""
    await is_on(world, instance_id, wanted[1])
    assert version_of(world, instance_id) == wanted[0]


def version_of(world: World, instance_id: UUID) -> str:
    """As the record has it."""
    statement = ("SELECT v.name FROM instances JOIN datastore_versions v ON v.id = datastore_version_id"
                 " WHERE instances.id = %s")  # fmt: skip
    return str(world.stack.sql(statement, instance_id, database=world.database)[0][0])


async def test_it_ends_on_the_other_version_and_goes_back(world: World) -> None:
    instance_id = await unwatched(world)
    async with world.held("stop_datastore") as held:
        run = await world.upgrade(instance_id)
        await held.arrived()
        assert world.instance(instance_id)["status"] == "UPGRADE"
    await run.result()
    await runs(world, instance_id, AFTER)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("upgrade", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    await (await world.upgrade(instance_id, "15")).result()
    await runs(world, instance_id, BEFORE)


@pytest.mark.parametrize("step", [each for each in STEPS if each != "get_health"])
async def test_refuse_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await (await world.upgrade(instance_id)).result()
    await runs(world, instance_id, BEFORE)


@pytest.mark.parametrize("step", (*STEPS, "find_instance", "find_version", "choose_image", "admit", "close"))
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.lose.add(step)
    await (await world.upgrade(instance_id)).result()
    assert step not in world.faults.lose
    await runs(world, instance_id, AFTER)


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_it_at_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await unwatched(world)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    with pytest.raises(WorkflowFailureError):
        await (await world.upgrade(instance_id)).result()
    await runs(world, instance_id, BEFORE)


@pytest.mark.parametrize("step", (*STEPS, "close"))
async def test_end_the_run_at_a_step_and_record_and_server_agree(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    async with world.held(step) as held:
        run = await world.upgrade(instance_id)
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    await runs(world, instance_id, AFTER if version_of(world, instance_id) == AFTER[0] else BEFORE)


@pytest.mark.parametrize(
    ("version", "why"),
    [("no-such", "cannot be found"), ("16", "only versions of the same series"),
     ("00000000-0000-4000-8000-000000000000", "cannot be found")],
)  # fmt: skip
async def test_what_is_refused_touches_nothing(world: World, version: str, why: str) -> None:
    instance_id = await unwatched(world)
    end = await asyncio.wait_for((await world.upgrade(instance_id, version)).result(), 60)
    assert end is not None
    assert end.startswith("refused: ")
    assert why in end
    await runs(world, instance_id, BEFORE)
    operations: list[Any] = await world.reader.list_operations(instance_id)
    assert len(operations) == 1
