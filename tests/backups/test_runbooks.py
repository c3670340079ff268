"""A backup ends complete, or with nothing left of it, over each of its steps; so does what is made from one, and its end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from temporalio.client import WorkflowFailureError

from contract.names import lock_id
from contract.ports.backups import Backups
from guest_worker import worker
from tests.backups.stored import CHUNKS, StandInBackups, Storage
from tests.runbooks.conftest import world
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.world import REFUSAL, World

__all__ = ["world"]
pytestmark = pytest.mark.asyncio(loop_scope="session")

STEPS = ("get_health", "open_backup", "back_up", "check_backup")
OF_GUEST = {each: f"the guest could not {each.replace('_', ' ')}" for each in ("get_health", "back_up")}
LOST = (*STEPS, "admit", "note_steps", "close")


@pytest_asyncio.fixture(loop_scope="session")
async def storage(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Storage]:
    """A container, and guests that store little."""
    ports: dict[Any, Any] = worker.PORTS
    monkeypatch.setitem(ports, Backups, StandInBackups)
    yield await Storage.prepared(world)


async def done(world: World, step: str) -> None:
    """Wait until a step that was let go has come to its end."""
    async with asyncio.timeout(30):
        while step not in world.faults.done:  # noqa: ASYNC110 - the step tells nobody
            await asyncio.sleep(0.1)


def is_quiet(world: World, instance_id: UUID) -> bool:
    """Whether the instance serves, and nothing is going on."""
    return (world.instance(instance_id)["status"], world.open_operations(instance_id)) == ("ACTIVE", 0)


async def test_back_up_restore_and_delete(world: World, storage: Storage) -> None:
    instance_id = await world.created()
    backup_id = await storage.made(instance_id)
    row = storage.row(backup_id)
    assert (row["key_id"], row["size_bytes"], row["reason"]) == (f"c:backup:{backup_id}:1", 2**20, None)
    assert len(storage.names()) == len(CHUNKS) + 1
    assert is_quiet(world, instance_id)
    assert world.charges(backup_id) == 1
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("backup", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    await world.delete(instance_id)
    await world.ended(instance_id)
    assert storage.row(backup_id)["status"] == "COMPLETED"  # it outlives its instance
    order = storage.restoring(backup_id)
    assert await (await world.start(order)).result() is None
    assert is_quiet(world, order.instance_id)
    assert await (await storage.delete(backup_id)).result() is None
    assert (storage.row(backup_id), storage.names(), world.charges(backup_id)) == ({}, [], 0)


async def test_refuse_any_step_and_nothing_of_it_is_left(world: World, storage: Storage) -> None:
    instance_id = await world.created()
    for step in STEPS:
        world.faults.refuse.add(step)
        backup_id, run = await storage.start(instance_id)
        with pytest.raises(WorkflowFailureError):
            await run.result()
        row = storage.row(backup_id)
        assert (row["status"], row["reason"]) == ("FAILED", OF_GUEST.get(step, REFUSAL)), step
        assert storage.names() == [], step
        assert is_quiet(world, instance_id), step
        await (await storage.delete(backup_id)).result()
        assert world.charges(backup_id) == 0
    await storage.made(instance_id)


async def test_lose_the_answer_of_any_step_and_it_is_made_once(world: World, storage: Storage) -> None:
    instance_id = await world.created()
    for number, step in enumerate(LOST, 1):
        world.faults.lose.add(step)
        if step == "note_steps":
            world.slow("back_up")
        await storage.made(instance_id)
        assert step not in world.faults.lose
        assert len(storage.names()) == number * (len(CHUNKS) + 1), step
        assert is_quiet(world, instance_id), step


async def test_cancel_it_at_any_step_and_nothing_of_it_is_left(world: World, storage: Storage) -> None:
    instance_id = await world.created()

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    for step in STEPS:
        world.faults.at[step] = cancel
        backup_id, run = await storage.start(instance_id)
        with pytest.raises(WorkflowFailureError):
            await run.result()
        assert (storage.row(backup_id)["reason"], storage.names()) == ("the backup was cancelled", []), step
        assert is_quiet(world, instance_id), step


async def test_end_its_run_at_any_step_and_nothing_of_it_is_left(world: World, storage: Storage) -> None:
    instance_id = await world.created()
    for step in STEPS:
        world.faults.done.clear()
        async with world.held(step) as held:
            backup_id, run = await storage.start(instance_id)
            await held.arrived()
            await run.terminate("the test")
        await done(world, step)  # the attempt of the ended run
        await world.settle(instance_id)
        await world.ended(instance_id)
        row = storage.row(backup_id)
        assert (row["status"], row["reason"]) == ("FAILED", "the backup was interrupted"), step
        assert storage.names() == [], step
        assert is_quiet(world, instance_id), step


@pytest.mark.parametrize("step", ["back_up", "check_backup"])
async def test_delete_its_instance_meanwhile_and_nothing_is_left(world: World, storage: Storage, step: str) -> None:
    instance_id = await world.created()
    async with world.held(step) as held:
        backup_id, _ = await storage.start(instance_id)
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    await nothing_is_left(world, instance_id)
    row = storage.row(backup_id)
    assert (row["status"], storage.names()) == ("FAILED", [])
    assert row["reason"] == "the instance was deleted before the backup was complete"


RESTORE = ("open_backup", "restore_data", "initialise_datastore", "start_datastore")


async def test_refuse_any_step_of_a_restore_and_nothing_is_left(world: World, storage: Storage) -> None:
    backup_id = await storage.made(await world.created())
    for step in RESTORE:
        world.faults.refuse.add(step)
        order = storage.restoring(backup_id)
        run = await world.start(order)
        with pytest.raises(WorkflowFailureError):
            await run.result()
        await nothing_is_left(world, order.instance_id)
        assert world.instance(order.instance_id)["status"] == "ERROR", step
    assert await (await storage.delete(backup_id)).result() is None  # nobody restores from it any more


async def test_lose_the_answer_of_any_step_of_a_restore(world: World, storage: Storage) -> None:
    backup_id = await storage.made(await world.created())
    for step in RESTORE[:3]:
        world.faults.lose.add(step)
        order = storage.restoring(backup_id)
        assert await (await world.start(order)).result() is None
        assert (step in world.faults.lose, is_quiet(world, order.instance_id)) == (False, True), step


async def test_a_backup_that_is_in_use_is_not_deleted(world: World, storage: Storage) -> None:
    instance_id = await world.created()
    async with world.held("back_up") as held:
        backup_id, run = await storage.start(instance_id)
        await held.arrived()
        assert "is running" in await (await storage.delete(backup_id)).result()
        early = storage.restoring(backup_id)
        assert "is not complete" in await (await world.start(early)).result()
    await run.result()
    order = storage.restoring(backup_id)
    async with world.held("restore_data") as held:
        run = await world.start(order)
        await held.arrived()
        assert "is being made from it" in await (await storage.delete(backup_id)).result()
    await run.result()
    assert "cannot be found" in await (await storage.delete(backup_id, "another")).result()
    assert len(storage.names()) == len(CHUNKS) + 1


@pytest.mark.parametrize(
    ("step", "status"),
    [("begin_deletion", "COMPLETED"), ("delete_backup", "DELETE_FAILED"), ("forget_backup", "DELETE_FAILED")],
)
async def test_refuse_a_step_of_a_deletion_and_it_can_be_deleted_again(
    world: World, storage: Storage, step: str, status: str
) -> None:
    backup_id = await storage.made(await world.created())
    world.faults.refuse.add(step)
    end: Any = None
    try:
        end = await (await storage.delete(backup_id)).result()
    except WorkflowFailureError as failed:
        end = failed.cause
    assert REFUSAL in str(end)
    assert (storage.row(backup_id)["status"], storage.row(backup_id)["deleting"]) == (status, False)
    for lost in ("begin_deletion", "delete_backup", "forget_backup"):
        world.faults.lose.add(lost)
    assert await (await storage.delete(backup_id)).result() is None
    assert (storage.row(backup_id), storage.names(), world.charges(backup_id)) == ({}, [], 0)
