"""A volume grows, or stays as it was, over each step: refused, lost, cancelled, interrupted, deleted; never half."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from contract.names import lock_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_delete_and_restart import answers, with_a_row
from tests.runbooks.world import PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEPS = ("get_health", "extend_volume", "require_volume_extended", "prepare_volume")
UNTIL_ASKED = ("get_health", "extend_volume")  # refused, nothing has grown


async def has(world: World, instance_id: UUID, size: int) -> None:
    """Records, quota and Cinder agree, and Cinder can be asked again; the database serves, and nothing runs."""
    assert world.instance(instance_id)["status"] == "ACTIVE"
    found = world.stack.sql(
        "SELECT volume_gib, amount FROM instances JOIN charges ON thing_id = id AND resource = 'volumes' WHERE id = %s",
        instance_id, database=world.database,
    )  # fmt: skip
    assert found == [(size, size)]
    conn: Any = world.stack.cloud("coffer")
    volumes = await asyncio.to_thread(lambda: list(conn.block_storage.volumes(name=f"coffer-{instance_id}")))
    assert [(each.status, each.size) for each in volumes] == [("in-use", size)]
    await answers(world, 1)
    assert world.open_operations(instance_id) == 0


async def unwatched(world: World) -> UUID:
    """An instance with a row that nobody watches, so that only the runbook asks its guest."""
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)
    return instance_id


async def test_it_ends_with_the_larger_volume_and_serves_meanwhile(world: World) -> None:
    instance_id = await with_a_row(world)
    async with world.held("require_volume_extended") as held:
        run = await world.grow(instance_id)
        await held.arrived()
        assert world.instance(instance_id)["status"] == "RESIZE"
        await answers(world, 1)
    await run.result()
    await has(world, instance_id, 2)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("resize_volume", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    assert "stop_datastore" not in world.faults.done


@pytest.mark.parametrize("step", STEPS)
async def test_refuse_a_step_and_all_agree(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await (await world.grow(instance_id)).result()
    await has(world, instance_id, 1 if step in UNTIL_ASKED else 2)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.state, bool(operation.reason)) == ("FAILED", True)
    await (await world.grow(instance_id, 3)).result()
    await has(world, instance_id, 3)


@pytest.mark.parametrize("step", (*STEPS[1:], "admit", "note_steps", "close"))
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    if step == "note_steps":  # it comes some time behind
        world.slow("extend_volume")
    world.faults.lose.add(step)
    await (await world.grow(instance_id)).result()
    assert step not in world.faults.lose
    await has(world, instance_id, 2)


STOPPED = ("close_gate", "stop_datastore", "prepare_volume", "start_datastore", "open_gate")


async def in_use() -> None:
    """As a guest whose kernel grows no file system that is mounted."""
    raise ApplicationError("the file system cannot be grown while it is in use", type="Unsupported", non_retryable=True)


async def test_where_the_file_system_grows_only_at_rest_the_engine_is_stopped_for_it(world: World) -> None:
    instance_id = await unwatched(world)
    world.faults.at["prepare_volume"] = in_use
    await (await world.grow(instance_id)).result()
    await has(world, instance_id, 2)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert [each.name.replace(" ", "_") for each in operation.steps] == [*STEPS, *STOPPED]


@pytest.mark.parametrize("fault", ["refuse", "lose"])
@pytest.mark.parametrize("step", [each for each in STOPPED if each != "prepare_volume"])
async def test_a_fault_while_it_is_stopped_and_it_serves_again(world: World, step: str, fault: str) -> None:
    instance_id = await unwatched(world)
    world.faults.at["prepare_volume"] = in_use
    getattr(world.faults, fault).add(step)
    run = await world.grow(instance_id)
    if fault == "refuse":
        with pytest.raises(WorkflowFailureError):
            await run.result()
    else:
        await run.result()
    await has(world, instance_id, 2)


@pytest.mark.parametrize("step", [each for each in STOPPED if each != "prepare_volume"])
async def test_end_the_run_while_it_is_stopped_and_it_serves_again(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.at["prepare_volume"] = in_use
    async with world.held(step) as held:
        run = await world.grow(instance_id)
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    await has(world, instance_id, 2)


@pytest.mark.parametrize(("step", "size"), [("get_health", 1), *((step, 2) for step in STEPS[1:])])
async def test_cancel_it_and_it_ends_where_cinder_is(world: World, step: str, size: int) -> None:
    instance_id = await unwatched(world)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    run = await world.grow(instance_id)
    if size == 1:
        with pytest.raises(WorkflowFailureError):
            await run.result()
    else:
        await run.result()
    await has(world, instance_id, size)
    state = (await world.reader.list_operations(instance_id))[0].state
    assert state == ("CANCELLED" if size == 1 else "DONE")


@pytest.mark.parametrize(
    ("step", "sizes"),
    [("get_health", {1}), ("extend_volume", {1, 2}), ("require_volume_extended", {2}), ("prepare_volume", {2}), ("close", {2})],
)  # fmt: skip
async def test_end_the_run_at_a_step_and_it_is_settled(world: World, step: str, sizes: set[int]) -> None:
    """At Cinder's request the attempt of the ended run may come first: then the volume has grown, for everybody."""
    instance_id = await unwatched(world)
    async with world.held(step) as held:
        run = await world.grow(instance_id)
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    found = world.stack.sql("SELECT volume_gib FROM instances WHERE id = %s", instance_id, database=world.database)
    assert found[0][0] in sizes
    await has(world, instance_id, found[0][0])


@pytest.mark.parametrize("step", STEPS)
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    instance_id = await world.created()
    await world.end_watch(instance_id)
    async with world.held(step) as held:
        await world.grow(instance_id)
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


async def test_cinder_cannot_and_the_tenant_reads_why(world: World) -> None:
    instance_id = await unwatched(world)
    world.stack.fault(volume=f"coffer-{instance_id}")
    try:
        with pytest.raises(WorkflowFailureError):
            await (await world.grow(instance_id)).result()
    finally:
        world.stack.no_more_faults()
    await has(world, instance_id, 1)
    reason = (await world.reader.list_operations(instance_id))[0].reason
    assert reason is not None
    assert "could not grow the volume" in reason


@pytest.mark.parametrize("size", [1])
async def test_a_size_that_is_not_larger_touches_nothing(world: World, size: int) -> None:
    instance_id = await with_a_row(world)
    end = await (await world.grow(instance_id, size)).result()
    assert end == "refused: The new volume 'size' must be larger than the current volume size of '1'."
    await has(world, instance_id, 1)
    assert len(await world.reader.list_operations(instance_id)) == 1


async def test_a_size_beyond_the_quota_touches_nothing(world: World) -> None:
    instance_id = await with_a_row(world)
    used = world.stack.sql("SELECT sum(amount) FROM charges WHERE project_id = %s AND resource = 'volumes'", PROJECT,
                           database=world.database)[0][0]  # fmt: skip
    ceiling = "UPDATE quotas SET ceiling = %s WHERE project_id = %s AND resource = 'volumes'"
    await world.write(ceiling, int(used) + 1, PROJECT)
    try:
        end = await (await world.grow(instance_id, 3)).result()
        assert end == "refused: Quota exceeded for resources: ['volumes']."
        await has(world, instance_id, 1)
        await (await world.grow(instance_id, 2)).result()
    finally:
        await world.write(ceiling, -1, PROJECT)
    await has(world, instance_id, 2)
