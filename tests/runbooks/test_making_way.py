"""A deletion is admitted at any moment of any operation and heeded within ten seconds; a cancel, where it may be."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError

from contract.domain.errors import innermost
from contract.domain.operation import Caller, DeleteOrder
from contract.names import RUNBOOKS, lock_id
from tests.runbooks.test_create import everything, nothing_is_left
from tests.runbooks.world import PROJECT, World
from workflows.instance.create import CreateInstance

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 10
RESTART = ("get_health", "stop_datastore", "start_datastore", "note_steps", "close")
SLOW = ("create_security_group", "create_volume", "create_server", "require_server_active", "prepare_volume",
        "initialise_datastore")  # fmt: skip


def clock() -> float:
    """Seconds."""
    return asyncio.get_running_loop().time()


async def gone(world: World, instance_id: Any) -> None:
    """The deletion has come to its good end."""
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)
    newest = (await world.reader.list_operations(instance_id))[0]
    assert (newest.kind, newest.state) == ("delete", "DONE")


@pytest.mark.parametrize("step", RESTART)
async def test_delete_at_a_step_of_a_restart_that_hangs(world: World, step: str) -> None:
    instance_id = await world.created()
    await world.end_watch(instance_id)
    if step == "note_steps":
        world.slow("stop_datastore")
    async with world.held(step) as held:
        await world.restart(instance_id)
        await held.arrived()
        began = clock()
        # the records' own transaction is waited for: it holds what the deletion needs
        await asyncio.wait_for(world.delete(instance_id), SECONDS)
        assert await asyncio.wait_for(world.taken_over(instance_id, began), SECONDS) < SECONDS
    await gone(world, instance_id)
    restart = (await world.reader.list_operations(instance_id))[1]
    assert (restart.kind, restart.state) == ("restart", "CANCELLED")


@pytest.mark.parametrize("step", SLOW)
async def test_delete_at_a_step_of_a_creation_that_hangs(world: World, step: str) -> None:
    """What the cloud was asked for comes into being after the deletion has begun, and is deleted all the same."""
    order = world.order(**everything())
    async with world.held(step) as held:
        await world.start(order)
        await held.arrived()
        began = clock()
        # the order of the deletion expires before it takes over: it was admitted, and that counts
        await asyncio.wait_for(world.delete(order.instance_id, seconds=2), SECONDS)
        assert await asyncio.wait_for(world.taken_over(order.instance_id, began), SECONDS) < SECONDS
        await asyncio.sleep(3)
    await gone(world, order.instance_id)


async def test_cancel_a_creation_at_a_step_that_hangs(world: World) -> None:
    order = world.order(**everything())
    async with world.held("create_server") as held:
        run = await world.start(order)
        await held.arrived()
        await world.notes(order.instance_id, lambda last: last == "create server")
        began = clock()
        await run.cancel()
        await world.notes(order.instance_id, lambda last: last != "create server")
        assert clock() - began < SECONDS
    with pytest.raises(WorkflowFailureError):
        await run.result()
    assert world.instance(order.instance_id)["fault"] == "the creation was cancelled"
    await nothing_is_left(world, order.instance_id)


async def test_a_guest_that_is_away_is_told_and_nobody_is_held_up(world: World) -> None:
    instance_id = await world.created()
    await world.guests[0].faint()
    began = clock()
    with pytest.raises(WorkflowFailureError) as failed:
        await (await world.restart(instance_id)).result()
    assert clock() - began < 60
    assert "the guest does not answer; nothing was stopped" in str(failed.value.cause)
    assert world.instance(instance_id)["status"] == "ACTIVE"

    run = await world.restart(instance_id)  # cancelled
    await asyncio.sleep(1)
    began = clock()
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.result()
    assert clock() - began < SECONDS
    assert (await world.reader.list_operations(instance_id))[0].state == "CANCELLED"
    assert world.instance(instance_id)["status"] == "ACTIVE"

    await world.restart(instance_id)  # and deleted
    await asyncio.sleep(1)
    began = clock()
    await world.delete(instance_id)
    assert await world.taken_over(instance_id, began) < SECONDS
    await gone(world, instance_id)


@pytest.mark.parametrize("step", ["start_datastore", "start_watch", "close"])
async def test_delete_while_an_interrupted_restart_is_put_right(world: World, step: str) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as stopping:
        run = await world.restart(instance_id)
        await stopping.arrived()
        await run.terminate("the test")
    async with world.held(step) as held:
        await world.settle(instance_id)
        await held.arrived()
        began = clock()
        await asyncio.wait_for(world.delete(instance_id), SECONDS)
        assert await asyncio.wait_for(world.taken_over(instance_id, began), SECONDS) < SECONDS
    await gone(world, instance_id)


@pytest.mark.parametrize("working", ["restart", "delete"])
async def test_a_deletion_is_of_its_own_member_alone(world: World, working: str) -> None:
    """Two instances of one group: while one is worked on, the other is not deleted, and neither is the first instead."""
    first = await world.created()
    order = world.order().model_copy(update={"group_id": first})
    world.guest(order.instance_id)
    await world.client.execute_workflow(CreateInstance.run, order, id=lock_id(first), task_queue=RUNBOOKS)
    deletion = DeleteOrder(instance_id=order.instance_id, group_id=first, caller=Caller(project_id=PROJECT))
    async with world.held("stop_datastore" if working == "restart" else "delete_servers_of") as held:
        await (world.restart(first) if working == "restart" else world.delete(first))
        await held.arrived()
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await world.delete_under(lock_id(first), deletion)
        assert "on another instance of its group" in str(innermost(refused.value.cause))
    await world.ended(first)
    assert world.instance(first)["deleted"] is (working == "delete")
    assert world.instance(order.instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}
    await world.delete_under(lock_id(first), deletion)
    await world.ended(first)
    assert world.instance(order.instance_id)["deleted"] is True
    await nothing_is_left(world, order.instance_id)


async def test_deletions_at_once_during_a_restart_are_one(world: World) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as held:
        await world.restart(instance_id)
        await held.arrived()
        await asyncio.gather(*(world.delete(instance_id) for _ in range(4)))
    await gone(world, instance_id)
    assert [each.kind for each in await world.reader.list_operations(instance_id)].count("delete") == 1


async def test_another_project_ends_nothing(world: World) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as held:
        run = await world.restart(instance_id)
        await held.arrived()
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await world.delete(instance_id, project="another")
        assert "cannot be found" in str(innermost(refused.value.cause))
    await run.result()
    assert world.instance(instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}


async def test_a_deletion_that_meets_a_refused_restart_is_not_refused(world: World) -> None:
    """The creation has failed, so a restart is refused: the deletion that comes meanwhile has nothing to do with that."""
    world.faults.refuse.add("create_server")
    order = world.order()
    with pytest.raises(WorkflowFailureError):
        await (await world.start(order)).result()
    async with world.held("admit") as held:
        run = await world.restart(order.instance_id)
        await held.arrived()
        refusal = asyncio.create_task(world.refusal(run))
        deletion = asyncio.create_task(world.delete(order.instance_id))
        await asyncio.sleep(0.5)
    await deletion
    assert "has no server" in str(await refusal)
    await gone(world, order.instance_id)


async def test_a_lock_is_nobody_elses(world: World) -> None:
    """A run that refuses itself, because it has the lock of another instance, admits no deletion either."""
    mine, other = await world.created(), await world.created()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await world.delete_under(lock_id(other), DeleteOrder(instance_id=mine, caller=Caller(project_id=PROJECT)))
    assert "lock" in str(refused.value.cause) or "workflow id" in str(refused.value.cause)
    assert world.instance(mine)["status"] == "ACTIVE"
    assert len(await world.reader.list_operations(mine)) == 1
