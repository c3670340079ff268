"""A creation, over each of its steps: refused, cancelled there, its answer lost, deleted meanwhile."""

import asyncio
import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
from temporalio.client import WorkflowFailureError

from contract.names import lock_id, watch_id
from tests.runbooks.world import PROJECT, REFUSAL, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLOUD = (
    "create_server_group",
    "create_security_group",
    "create_port",
    "create_volume",
    "require_volume_available",
    "expect_guest",
    "create_server",
    "require_server_active",
    "create_floating_ip",
)
GUEST = (
    "prepare_volume",
    "initialise_datastore",
    "start_datastore",
    "create_first_accounts",
)
STEPS = (*CLOUD, *GUEST, "start_watch")
BEFORE = ("check_order", "admit")
RECORDS = ("note_steps", "close")


def everything() -> dict[str, Any]:
    """An order that needs every step."""
    from contract.domain.instance import Access, Locality

    return {"locality": Locality.ANTI_AFFINITY, "access": Access(is_public=True)}


async def nothing_is_left(world: World, instance_id: UUID) -> None:
    """No resource, no quota, no open operation, no watch."""
    assert await world.belongings(instance_id) == []
    assert world.charges(instance_id) == 0
    assert world.open_operations(instance_id) == 0
    assert not await world.is_watched(instance_id)


async def its_runs_say_what_they_are(world: World, instance_id: UUID) -> None:
    """Temporal itself knows kind, step, name and project; orders and answers are sealed."""
    for workflow_id in (lock_id(instance_id), watch_id(instance_id)):
        found = await world.client.get_workflow_handle(workflow_id).describe()
        told = {each.key.name: each.value for each in found.typed_search_attributes.search_attributes}
        assert {"InstanceId": str(instance_id), "InstanceName": "db", "ProjectId": PROJECT}.items() <= told.items()
    history = await world.client.get_workflow_handle(lock_id(instance_id)).fetch_history()  # as Temporal keeps it
    steps = [each for each in history.events if each.HasField("activity_task_scheduled_event_attributes")]
    for each in steps:
        scheduled = each.activity_task_scheduled_event_attributes
        assert json.loads(each.user_metadata.summary.data) == scheduled.activity_type.name.replace("_", " ")
        assert all(payload.metadata["encoding"] == b"binary/encrypted" for payload in scheduled.input.payloads)
    assert len(steps) > len(STEPS)
    assert b"amy" not in b"".join(each.SerializeToString() for each in history.events)


async def test_it_builds_a_database_that_serves(world: World) -> None:
    instance_id = await world.created(**everything())
    assert world.instance(instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}
    with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert len(await world.belongings(instance_id)) == 6
    assert await world.is_watched(instance_id)
    await its_runs_say_what_they_are(world, instance_id)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(_in_order())
    assert {each.outcome for each in operation.steps} == {"DONE"}
    await world.delete(instance_id)
    await world.ended(instance_id)
    await nothing_is_left(world, instance_id)


def _in_order() -> list[str]:
    return [*CLOUD, *GUEST, "start_watch"]


@pytest.mark.parametrize("step", STEPS)
async def test_refuse_a_step_and_nothing_is_left(world: World, step: str) -> None:
    world.faults.refuse.add(step)
    order = world.order(**everything())
    handle = await world.start(order)
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
    row = world.instance(order.instance_id)
    assert row["status"] == "ERROR"
    assert REFUSAL in row["fault"] or "guest" in row["fault"]
    (operation,) = await world.reader.list_operations(order.instance_id)
    steps = {each.name.replace(" ", "_"): each.outcome for each in operation.steps}
    assert steps[step] == "FAILED"
    assert {outcome for name, outcome in steps.items() if name != step} == {"DONE"}
    await nothing_is_left(world, order.instance_id)
    await world.delete(order.instance_id)
    await world.ended(order.instance_id)
    assert world.instance(order.instance_id)["deleted"] is True


@pytest.mark.parametrize("step", BEFORE)
async def test_refuse_the_admission_and_nothing_was_touched(world: World, step: str) -> None:
    world.faults.refuse.add(step)
    order = world.order(**everything())
    handle = await world.start(order)
    assert await asyncio.wait_for(handle.result(), 120) == f"refused: {REFUSAL}"
    assert world.instance(order.instance_id) == {}
    await nothing_is_left(world, order.instance_id)


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    order = world.order(**everything())

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(order.instance_id)).cancel()

    world.faults.at[step] = cancel
    handle = await world.start(order)
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
    row = world.instance(order.instance_id)
    assert (row["status"], row["fault"]) == ("ERROR", "the creation was cancelled")
    await nothing_is_left(world, order.instance_id)
    operation = (await world.reader.list_operations(order.instance_id))[0]
    assert operation.state == "CANCELLED"


@pytest.mark.parametrize("step", (*BEFORE, *STEPS, *RECORDS))
async def test_lose_the_answer_of_a_step_and_nothing_is_made_twice(world: World, step: str) -> None:
    world.faults.lose.add(step)
    instance_id = await world.created(**everything())
    assert step not in world.faults.lose
    assert world.instance(instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}
    kinds = sorted(each.rsplit(" ", 1)[0] for each in await world.belongings(instance_id))
    assert kinds == ["floating ip", "port", "security group", "server", "server group", "volume"]
    assert world.charges(instance_id) == 3
    assert len(await world.reader.list_operations(instance_id)) == 1
    with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    await world.delete(instance_id)
    await world.ended(instance_id)
    await nothing_is_left(world, instance_id)


@pytest.mark.parametrize("step", (*STEPS, "note_steps", "close"))
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    order = world.order(**everything())
    asked: list[asyncio.Task[None]] = []

    async def delete() -> None:
        asked.append(asyncio.create_task(world.delete(order.instance_id)))
        await asyncio.sleep(0.1)  # the deletion is admitted while this step still runs

    world.faults.at[step] = delete
    await world.start(order)
    await world.ended(order.instance_id)
    await asyncio.gather(*asked)
    await world.ended(order.instance_id)
    assert world.instance(order.instance_id)["deleted"] is True
    await nothing_is_left(world, order.instance_id)
