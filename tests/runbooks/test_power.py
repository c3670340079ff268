"""Stop, start, reboot and migration end as ordered or with an instance that serves, over each of their steps."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import WorkflowFailureError

from contract.domain.instance import InstanceStatus
from contract.names import lock_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_delete_and_restart import answers, with_a_row
from tests.runbooks.world import World
from workflows.instance.migrate import MigrateServer
from workflows.instance.power import RebootServer, StartInstance, StopInstance

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENGINE_STOPS = ("get_health", "close_gate", "stop_datastore")
RUNS = ("require_server_running", "configure_datastore", "start_datastore", "open_gate", "start_watch")
STEPS = {
    StopInstance: ("end_watch", *ENGINE_STOPS, "require_server_stopped"),
    StartInstance: RUNS,
    RebootServer: (*ENGINE_STOPS, "reboot_server", *RUNS),
    MigrateServer: (*ENGINE_STOPS, "migrate_server", "require_server_migrated", "configure_datastore", "start_datastore",
                    "open_gate", "require_resize_confirmed"),
}  # fmt: skip
TOLERATED = {StopInstance: ENGINE_STOPS, RebootServer: ENGINE_STOPS}  # the server's end does what the guest does not
EVERY = [(runbook, step) for runbook, steps in STEPS.items() for step in steps]


async def begun(world: World, runbook: Any) -> UUID:
    """An instance with data, and stopped where it is to be started."""
    instance_id = await with_a_row(world)
    if runbook is StartInstance:
        await (await world.power(StopInstance, instance_id)).result()
    return instance_id


async def server(world: World, instance_id: UUID) -> str:
    """What Nova says of the server."""
    conn: Any = world.stack.cloud("coffer")
    (found,) = await asyncio.to_thread(lambda: list(conn.compute.servers(details=True, name=f"^coffer-{instance_id}$")))
    return str(found.status)


async def serves(world: World, instance_id: UUID) -> None:
    """Records and Nova agree, the rows are there, somebody watches."""
    assert (world.instance(instance_id)["status"], await server(world, instance_id)) == ("ACTIVE", "ACTIVE")
    await answers(world, 1)
    assert world.open_operations(instance_id) == 0
    assert await world.is_watched(instance_id)


async def is_stopped(world: World, instance_id: UUID) -> None:
    """Records and Nova agree, and nobody watches."""
    assert (world.instance(instance_id)["status"], await server(world, instance_id)) == ("SHUTDOWN", "SHUTOFF")
    assert world.seen(instance_id) == ("SHUTDOWN", "the instance was stopped; a restart starts it")
    assert world.open_operations(instance_id) == 0
    assert not await world.is_watched(instance_id)


async def ends(world: World, runbook: Any, instance_id: UUID) -> None:
    """As the runbook promises."""
    await (is_stopped if runbook is StopInstance else serves)(world, instance_id)


@pytest.mark.parametrize("runbook", STEPS, ids=lambda each: each.__name__)
async def test_it_ends_as_ordered(world: World, runbook: Any) -> None:
    instance_id = await begun(world, runbook)
    await (await world.power(runbook, instance_id)).result()
    await ends(world, runbook, instance_id)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == (runbook.kind.value, "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS[runbook])


@pytest.mark.parametrize(("runbook", "step"), EVERY)
async def test_refuse_a_step_and_it_serves_or_is_as_it_was(world: World, runbook: Any, step: str) -> None:
    instance_id = await begun(world, runbook)
    world.faults.refuse.add(step)
    run = await world.power(runbook, instance_id)
    if step in TOLERATED.get(runbook, ()):
        await run.result()
        await ends(world, runbook, instance_id)
        return
    with pytest.raises(WorkflowFailureError):
        await run.result()
    await (is_stopped if runbook is StartInstance else serves)(world, instance_id)
    await (await world.power(runbook, instance_id)).result()
    await ends(world, runbook, instance_id)


@pytest.mark.parametrize(
    ("runbook", "step"), [*EVERY, *((each, step) for each in STEPS for step in ("admit", "close"))]
)
async def test_lose_the_answer_of_a_step_and_it_ends_as_ordered(world: World, runbook: Any, step: str) -> None:
    instance_id = await begun(world, runbook)
    world.faults.lose.add(step)
    await (await world.power(runbook, instance_id)).result()
    await ends(world, runbook, instance_id)


@pytest.mark.parametrize(("runbook", "step"), EVERY)
async def test_end_the_run_at_a_step_and_it_serves(world: World, runbook: Any, step: str) -> None:
    instance_id = await begun(world, runbook)
    async with world.held(step) as held:
        run = await world.power(runbook, instance_id)
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    if (runbook, step) != (StopInstance, "require_server_stopped"):  # whose attempt may come after the settling
        await serves(world, instance_id)


@pytest.mark.parametrize(
    ("runbook", "step"),
    [(StopInstance, "stop_datastore"), (StartInstance, "start_datastore"), (RebootServer, "close_gate"),
     (MigrateServer, "require_server_migrated")],
)  # fmt: skip
async def test_cancel_before_the_point_of_no_return_and_it_is_as_it_was(world: World, runbook: Any, step: str) -> None:
    instance_id = await begun(world, runbook)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    with pytest.raises(WorkflowFailureError):
        await (await world.power(runbook, instance_id)).result()
    await (is_stopped if runbook is StartInstance else serves)(world, instance_id)
    assert (await world.reader.list_operations(instance_id))[0].state == "CANCELLED"


@pytest.mark.parametrize(("runbook", "step"), EVERY)
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, runbook: Any, step: str) -> None:
    instance_id = await begun(world, runbook)
    async with world.held(step) as held:
        await world.power(runbook, instance_id)
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


async def test_what_is_stopped_can_be_started_and_deleted_alone(world: World) -> None:
    instance_id = await with_a_row(world)
    await (await world.power(StopInstance, instance_id)).result()
    for start in (world.restart, world.resize):
        assert f"(instance status was {InstanceStatus.SHUTDOWN})" in await (await start(instance_id)).result()
    for runbook in (StopInstance, RebootServer, MigrateServer):
        assert "refused: " in await (await world.power(runbook, instance_id)).result()
    await is_stopped(world, instance_id)
    await world.delete(instance_id)
    await world.ended(instance_id)
    await nothing_is_left(world, instance_id)


async def test_there_is_no_other_host_and_the_operator_reads_so(world: World) -> None:
    instance_id = await with_a_row(world)
    world.stack.fault(server=f"coffer-{instance_id}")
    try:
        with pytest.raises(WorkflowFailureError):
            await (await world.power(MigrateServer, instance_id)).result()
    finally:
        world.stack.no_more_faults()
    await serves(world, instance_id)
    reason = (await world.reader.list_operations(instance_id))[0].reason
    assert reason == ("the cloud could not migrate the server: No valid host was found. No valid host found for cold"
                      " migrate")  # fmt: skip
