"""An order that waits for the lock of its group: it is seen, it begins, it gives up in time, and a deletion wins."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from contract.domain.operation import Caller, RestartOrder
from contract.names import RUNBOOKS, waiting_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_making_way import gone
from tests.runbooks.world import PATIENCE, PROJECT, World
from workflows.instance.restart import RestartInstance

pytestmark = pytest.mark.asyncio(loop_scope="session")
Handle = WorkflowHandle[Any, Any]


async def wait_to_restart(world: World, instance_id: UUID, seconds: float = 120, project: str = PROJECT) -> Handle:
    """A restart that waits for the lock for so long."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    order = RestartOrder(
        instance_id=instance_id, operation_id=uuid4(), caller=Caller(project_id=project), waits_until=until
    )
    assert order.operation_id is not None
    return await world.client.start_workflow(
        RestartInstance.run, order, id=waiting_id(order.operation_id), task_queue=RUNBOOKS
    )


async def operations(world: World, instance_id: UUID) -> list[tuple[str, str, str | None]]:
    """What the owner reads, the newest first."""
    return [(each.kind, each.state, each.reason) for each in await world.reader.list_operations(instance_id)]


async def seen(world: World, instance_id: UUID, state: str) -> None:
    """Wait until the newest operation is in a state."""
    async with asyncio.timeout(PATIENCE):
        while (await operations(world, instance_id))[0][1] != state:  # noqa: ASYNC110 - the records tell nobody
            await asyncio.sleep(0.1)


def waiting_rows(world: World, instance_id: UUID) -> int:
    """Rows of those who wait."""
    statement = "SELECT count(*) FROM waiting WHERE %s = ANY(instance_ids)"
    return int(world.stack.sql(statement, instance_id, database=world.database)[0][0])


async def test_it_is_seen_to_wait_and_then_runs(world: World) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as held:
        first = await world.restart(instance_id)
        await held.arrived()
        waiter = await wait_to_restart(world, instance_id)
        await seen(world, instance_id, "WAITING")
        assert (await operations(world, instance_id))[:2] == [
            ("restart", "WAITING", "waiting for restart"), ("restart", "RUNNING", None)
        ]  # fmt: skip
    await first.result()
    assert await asyncio.wait_for(waiter.result(), PATIENCE) is None
    await seen(world, instance_id, "DONE")
    assert [each[:2] for each in await operations(world, instance_id)] == [
        ("restart", "DONE"), ("restart", "DONE"), ("create", "DONE")
    ]  # fmt: skip
    assert waiting_rows(world, instance_id) == 0


async def test_several_wait_and_each_runs_once(world: World) -> None:
    instance_id = await world.created()
    world.faults.lose.add("start_when_free")  # one of the answers
    async with world.held("stop_datastore") as held:
        first = await world.restart(instance_id)
        await held.arrived()
        waiters = [await wait_to_restart(world, instance_id) for _ in range(3)]
    await first.result()
    for each in waiters:
        assert await asyncio.wait_for(each.result(), PATIENCE) is None
    await world.ended(instance_id)
    kinds = [each[:2] for each in await operations(world, instance_id)]
    assert kinds == [*[("restart", "DONE")] * 4, ("create", "DONE")]
    assert waiting_rows(world, instance_id) == 0


async def test_its_time_is_over_and_it_never_happens(world: World) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as held:
        first = await world.restart(instance_id)
        await held.arrived()
        waiter = await wait_to_restart(world, instance_id, seconds=3)
        end = str(await asyncio.wait_for(waiter.result(), PATIENCE))
    assert end.startswith(f"refused: Instance {instance_id} is not currently available for an action to be performed")
    assert "another operation is running" in end
    await first.result()
    assert [each[:2] for each in await operations(world, instance_id)] == [("restart", "DONE"), ("create", "DONE")]
    assert waiting_rows(world, instance_id) == 0


async def test_a_deletion_wins(world: World) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as held:
        await world.restart(instance_id)
        await held.arrived()
        waiter = await wait_to_restart(world, instance_id)
        await seen(world, instance_id, "WAITING")
        async with world.held("delete_servers_of") as deleting:
            await world.delete(instance_id)
            await deleting.arrived()
            assert waiting_rows(world, instance_id) == 0  # from the admission of the deletion on
            # it is told while the deletion is still at work
            assert await asyncio.wait_for(waiter.result(), PATIENCE) == "refused: The instance is being deleted."
    await gone(world, instance_id)
    assert [each[0] for each in await operations(world, instance_id)] == ["delete", "restart", "create"]
    await nothing_is_left(world, instance_id)


async def test_it_is_cancelled(world: World) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as held:
        first = await world.restart(instance_id)
        await held.arrived()
        waiter = await wait_to_restart(world, instance_id)
        await seen(world, instance_id, "WAITING")
        await waiter.cancel()
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(waiter.result(), PATIENCE)
    await first.result()
    assert [each[:2] for each in await operations(world, instance_id)] == [("restart", "DONE"), ("create", "DONE")]
    assert waiting_rows(world, instance_id) == 0


async def test_whoever_may_not_touch_it_is_refused_at_once(world: World) -> None:
    instance_id = await world.created()
    waiter = await wait_to_restart(world, instance_id, project="another")
    assert "cannot be found" in str(await asyncio.wait_for(waiter.result(), PATIENCE))
    late = await wait_to_restart(world, instance_id, seconds=-1)
    assert "is over; nothing was touched" in str(await asyncio.wait_for(late.result(), PATIENCE))
    assert waiting_rows(world, instance_id) == 0
    assert len(await world.reader.list_operations(instance_id)) == 1
