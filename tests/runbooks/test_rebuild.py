"""A rebuild ends on the new image or on the old one, with the data, over each of its steps."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import WorkflowFailureError

from contract.names import lock_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_delete_and_restart import answers, with_a_row
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

OLD, NEW = "quiet", "quiet-again"
STOPPING = ("get_image_of", "get_health", "close_gate", "stop_datastore")
BUILDING = ("expect_guest", "rebuild_server", "require_server_rebuilt", "prepare_volume", "initialise_datastore",
            "start_datastore", "start_watch")  # fmt: skip
STEPS = (*STOPPING, *BUILDING)


async def is_on(world: World, instance_id: UUID, image: str) -> None:
    """Nova has one server of it, on the image; the database serves with its rows; nothing runs."""
    assert world.instance(instance_id)["status"] == "ACTIVE"
    conn: Any = world.stack.cloud("coffer")

    def image_of() -> list[tuple[str, str]]:
        names = {each.id: each.name for each in conn.image.images()}
        servers = conn.compute.servers(details=True, name=f"^coffer-{instance_id}")
        return [(each.status, names[each.image.id]) for each in servers]

    assert await asyncio.to_thread(image_of) == [("ACTIVE", image)]
    await answers(world, 1)
    assert world.open_operations(instance_id) == 0


async def unwatched(world: World) -> UUID:
    """An instance with a row that nobody watches, so that only the runbook asks its guest."""
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)
    return instance_id


async def test_it_ends_on_the_new_image_with_the_data(world: World) -> None:
    instance_id = await with_a_row(world)
    await (await world.rebuild(instance_id)).result()
    await is_on(world, instance_id, NEW)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("rebuild", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    await (await world.rebuild(instance_id, None)).result()  # the image of its version
    await is_on(world, instance_id, OLD)


@pytest.mark.parametrize("step", [each for each in STEPS if each != "get_health"])
async def test_refuse_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await (await world.rebuild(instance_id)).result()
    await is_on(world, instance_id, OLD)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.state, bool(operation.reason)) == ("FAILED", True)


@pytest.mark.parametrize("step", (*STEPS, "find_instance", "choose_image", "admit", "note_steps", "close"))
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.lose.add(step)
    await (await world.rebuild(instance_id)).result()
    assert step not in world.faults.lose
    await is_on(world, instance_id, NEW)


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_it_at_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await unwatched(world)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    with pytest.raises(WorkflowFailureError):
        await (await world.rebuild(instance_id)).result()
    await is_on(world, instance_id, OLD)
    assert (await world.reader.list_operations(instance_id))[0].state == "CANCELLED"


@pytest.mark.parametrize("step", (*STEPS, "close"))
async def test_end_the_run_at_a_step_and_it_is_settled(world: World, step: str) -> None:
    """On the image that Nova has then, whichever it is."""
    instance_id = await unwatched(world)
    async with world.held(step) as held:
        run = await world.rebuild(instance_id)
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    conn: Any = world.stack.cloud("coffer")
    (server,) = await asyncio.to_thread(lambda: list(conn.compute.servers(name=f"^coffer-{instance_id}")))
    image = (await asyncio.to_thread(conn.image.get_image, server.image.id)).name
    await is_on(world, instance_id, image)


@pytest.mark.parametrize("step", STEPS)
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    instance_id = await world.created()
    await world.end_watch(instance_id)
    async with world.held(step) as held:
        await world.rebuild(instance_id)
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


async def test_a_guest_that_is_away_is_no_hindrance(world: World) -> None:
    instance_id = await with_a_row(world)
    await next(each for each in world.guests if each.instance_id == instance_id).faint()
    await (await world.rebuild(instance_id)).result()
    await is_on(world, instance_id, NEW)


async def test_where_the_way_back_fails_there_is_another_one(world: World) -> None:
    instance_id = await unwatched(world)
    world.stack.fault(server=f"coffer-{instance_id}", count=2)
    try:
        with pytest.raises(WorkflowFailureError):
            await (await world.rebuild(instance_id)).result()
    finally:
        world.stack.no_more_faults()
    found = world.instance(instance_id)
    assert found["status"] == "ERROR"
    assert "an administrator can rebuild the instance" in found["fault"]
    await (await world.rebuild(instance_id, None)).result()
    await is_on(world, instance_id, OLD)


@pytest.mark.parametrize(
    ("image", "why"),
    [("no-such", "cannot be found"), ("00000000-0000-4000-8000-000000000000", "cannot be found"),
     ("min_ram", "is not for postgresql 15")],
)  # fmt: skip
async def test_what_is_refused_touches_nothing(world: World, image: str, why: str) -> None:
    instance_id = await with_a_row(world)
    end = await (await world.rebuild(instance_id, image)).result()
    assert end.startswith("refused: ")
    assert why in end
    await is_on(world, instance_id, OLD)
    assert len(await world.reader.list_operations(instance_id)) == 1
