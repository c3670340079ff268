"""Deletions only go forward; restarts end with the engine running on its data."""

import asyncio
from datetime import datetime
from typing import cast
from uuid import UUID

import psycopg
import pytest
from temporalio.client import WorkflowFailureError

from contract.names import lock_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEARDOWN = (
    "end_watch",
    "revoke_guest",
    "delete_servers_of",
    "delete_volumes_of",
    "delete_floating_ips_of",
    "delete_ports_of",
    "delete_security_groups_of",
    "delete_server_groups_of",
)
RESTART = ("stop_datastore", "start_datastore")


async def answers(world: World, rows: int) -> None:
    """The engine serves the rows that were written."""
    with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (rows,)


async def with_a_row(world: World) -> UUID:
    """An instance with data."""
    instance_id = await world.created()
    with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app") as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("INSERT INTO t VALUES (1)")
    return instance_id


@pytest.mark.parametrize("step", TEARDOWN)
async def test_refuse_a_step_of_a_deletion_and_deleting_again_works(world: World, step: str) -> None:
    instance_id = await world.created()
    world.faults.refuse.add(step)
    await world.delete(instance_id)
    await world.ended(instance_id)
    row = world.instance(instance_id)
    assert row["status"] == "ERROR"
    assert row["fault"].startswith("not everything could be deleted")
    assert world.open_operations(instance_id) == 0
    await world.delete(instance_id)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


@pytest.mark.parametrize("step", (*TEARDOWN, "admit", "note_steps", "close"))
async def test_lose_the_answer_of_a_step_of_a_deletion(world: World, step: str) -> None:
    instance_id = await world.created()
    if step == "note_steps":
        world.slow("delete_servers_of")
    world.faults.lose.add(step)
    await world.delete(instance_id)
    await world.ended(instance_id)
    assert step not in world.faults.lose
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


@pytest.mark.parametrize("step", TEARDOWN)
async def test_cancel_a_deletion_and_it_goes_forward(world: World, step: str) -> None:
    instance_id = await world.created()

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    await world.delete(instance_id)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


async def test_a_deletion_that_is_asked_for_twice_is_one(world: World) -> None:
    instance_id = await world.created()
    await asyncio.gather(world.delete(instance_id), world.delete(instance_id))
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    kinds = [each.kind for each in await world.reader.list_operations(instance_id)]
    assert kinds.count("delete") == 1


def started(world: World) -> datetime:
    """When the engine was started."""
    with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app") as connection:
        row = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
        assert row is not None
        return cast(datetime, row[0])


async def test_a_restart_starts_another_engine_on_the_same_data(world: World) -> None:
    instance_id = await with_a_row(world)
    before = started(world)
    await (await world.restart(instance_id)).result()
    assert world.instance(instance_id)["status"] == "ACTIVE"
    assert started(world) > before
    await answers(world, 1)


@pytest.mark.parametrize("step", ("get_health", *RESTART))
async def test_refuse_a_step_of_a_restart_and_the_operation_has_failed_not_the_instance(
    world: World, step: str
) -> None:
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)  # it would ask for the health first
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await (await world.restart(instance_id)).result()
    assert world.instance(instance_id)["status"] == "ACTIVE"
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("restart", "FAILED")
    assert operation.reason
    if step != "start_datastore":
        await answers(world, 1)
    await (await world.restart(instance_id)).result()  # a restart repairs what a restart has broken
    assert world.instance(instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}
    await answers(world, 1)


@pytest.mark.parametrize("step", (*RESTART, "admit", "note_steps", "close"))
async def test_lose_the_answer_of_a_step_of_a_restart(world: World, step: str) -> None:
    instance_id = await with_a_row(world)
    if step == "note_steps":
        world.slow("stop_datastore")
    world.faults.lose.add(step)
    await (await world.restart(instance_id)).result()
    assert step not in world.faults.lose
    assert world.instance(instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}
    await answers(world, 1)


@pytest.mark.parametrize("step", RESTART)
async def test_cancel_a_restart_and_the_engine_runs(world: World, step: str) -> None:
    instance_id = await with_a_row(world)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    await (await world.restart(instance_id)).result()
    assert world.instance(instance_id)["status"] == "ACTIVE"
    await answers(world, 1)
