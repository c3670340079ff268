"""An operation on two members of a group, over each of its steps: refused, lost, interrupted, one member deleted."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.worker import Worker

from activities.openstack.connection import Connections
from activities.openstack.leftovers import Leftovers
from activities.settings import ActivitySettings
from activities.sweeps import RepeatedSweeps
from contract.domain.errors import innermost
from contract.domain.operation import Caller, DeleteOrder, RestartOrder
from contract.names import RUNBOOKS, lock_id
from tests.runbooks.restart_members import RestartMembers, RestartMembersOrder
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.world import PATIENCE, PROJECT, World
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.restart import RestartInstance

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUEUE = "runbooks-on-members"  # a deletion that takes over goes on here
STEPS = ("get_health", "stop_datastore", "start_datastore")
EACH = [(member, step) for member in (0, 1) for step in STEPS]
Pair = tuple[UUID, ...]


@pytest_asyncio.fixture(loop_scope="session")
async def pair(world: World) -> AsyncIterator[Pair]:
    """Two instances of one group, which is named like the first."""
    first = await world.created()
    order = world.order().model_copy(update={"group_id": first})
    world.guest(order.instance_id)
    await world.client.execute_workflow(CreateInstance.run, order, id=lock_id(first), task_queue=RUNBOOKS)
    for each in (first, order.instance_id):  # its news would come between
        await world.end_watch(each)
    async with Worker(world.client, task_queue=QUEUE, workflows=[RestartMembers, DeleteInstance]):
        yield first, order.instance_id


async def restart(world: World, pair: Pair) -> "WorkflowHandle[Any, Any]":
    """Start it."""
    order = RestartMembersOrder(instance_ids=pair, operation_id=uuid4(), caller=Caller(project_id=PROJECT))
    return await world.client.start_workflow(RestartMembers.run, order, id=lock_id(pair[0]), task_queue=QUEUE)


async def serve(world: World, *members: UUID) -> None:
    """They are ACTIVE and answer, and nobody works on them."""
    for guest in world.guests:
        if guest.instance_id in members:
            with psycopg.connect(host=guest.address, user="amy", password="secret", dbname="app") as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert world.instance(guest.instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}
            assert world.open_operations(guest.instance_id) == 0


async def steps_of(world: World, member: UUID) -> list[tuple[str, str | None]]:
    """What the member's owner reads of the last operation on it."""
    operation = (await world.reader.list_operations(member))[0]
    return [(each.name.replace(" ", "_"), each.outcome) for each in operation.steps]


async def settled(world: World, *members: UUID) -> None:
    """Have the sweep put right what was left."""
    await world.write("UPDATE operations SET created = created - interval '1 hour' WHERE state = 'RUNNING'")
    sweeps = RepeatedSweeps(world.engine, world.client, Leftovers(Connections("coffer", 20)),
                            ActivitySettings(cloud="coffer"))  # fmt: skip
    left = "SELECT count(*) FROM instances WHERE id = ANY(%s) AND unsettled IS NOT NULL"
    async with asyncio.timeout(PATIENCE):
        while any(map(world.open_operations, members)) or world.stack.sql(left, list(members),
                                                                          database=world.database)[0][0]:  # fmt: skip
            await sweeps.settle_stale_operations()
            await asyncio.sleep(0.5)


async def test_each_member_is_told_its_own_steps(world: World, pair: Pair) -> None:
    await (await restart(world, pair)).result()
    await serve(world, *pair)
    for each in pair:
        assert await steps_of(world, each) == [(step, "DONE") for step in STEPS]


@pytest.mark.parametrize(("member", "step"), EACH)
async def test_refuse_a_step_and_the_other_member_has_nothing_to_do_with_it(
    world: World, pair: Pair, member: int, step: str
) -> None:
    failed, other = pair[member], pair[1 - member]
    world.faults.refuse.add(f"{step} of {failed}")
    with pytest.raises(WorkflowFailureError):
        await (await restart(world, pair)).result()
    said = f"the guest could not {step.replace('_', ' ')}"
    assert (world.instance(failed)["status"], world.instance(failed)["fault"]) == ("ERROR", said)
    assert world.instance(other)["status"] == "ACTIVE"
    assert dict(await steps_of(world, failed))[step] == "FAILED"
    assert await steps_of(world, other) == [(each, "DONE") for each in STEPS]
    await (await restart(world, pair)).result()
    await serve(world, *pair)


@pytest.mark.parametrize(
    ("member", "step"), [*EACH[1:3], *EACH[4:], (None, "admit"), (None, "note_steps"), (None, "close")]
)
async def test_lose_an_answer_and_it_is_done_once(world: World, pair: Pair, member: int | None, step: str) -> None:
    world.faults.lose.add(step if member is None else f"{step} of {pair[member]}")
    world.slow(f"stop_datastore of {pair[1]}")  # so that there is a note before the close
    await (await restart(world, pair)).result()
    assert not world.faults.lose
    await serve(world, *pair)
    for each in pair:
        assert await steps_of(world, each) == [(step, "DONE") for step in STEPS]
        assert len(await world.reader.list_operations(each)) == 2


@pytest.mark.parametrize(("member", "step"), EACH)
async def test_end_the_run_at_a_step_and_both_are_put_right(world: World, pair: Pair, member: int, step: str) -> None:
    async with world.held(f"{step} of {pair[member]}") as held:
        run = await restart(world, pair)
        await held.arrived()
        await run.terminate("the test")
    await settled(world, *pair)
    await serve(world, *pair)
    for each in pair:
        kinds = {(done.kind, done.state) for done in await world.reader.list_operations(each)}
        assert kinds == {("create", "DONE"), ("restart", "INTERRUPTED"), ("settle", "DONE")}


@pytest.mark.parametrize("deleted", [0, 1])
@pytest.mark.parametrize(("member", "step"), EACH[1:])
async def test_delete_one_member_at_a_step_and_the_other_is_put_right(
    world: World, pair: Pair, member: int, step: str, deleted: int
) -> None:
    gone, stays = pair[deleted], pair[1 - deleted]
    deletion = DeleteOrder(instance_id=gone, group_id=pair[0], caller=Caller(project_id=PROJECT))
    async with world.held(f"{step} of {pair[member]}") as held:
        await restart(world, pair)
        await held.arrived()
        await world.delete_under(lock_id(pair[0]), deletion)
    await world.ended(pair[0])
    assert world.instance(gone)["deleted"] is True
    await nothing_is_left(world, gone)
    await settled(world, stays)
    await serve(world, stays)


async def test_a_deletion_of_a_member_that_is_not_worked_on_is_refused(world: World, pair: Pair) -> None:
    deletion = DeleteOrder(instance_id=pair[1], group_id=pair[0], caller=Caller(project_id=PROJECT))
    async with world.held(f"stop_datastore of {pair[0]}") as held:
        run = await restart(world, (pair[0],))
        await held.arrived()
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await world.delete_under(lock_id(pair[0]), deletion)
        assert "on another instance of its group" in str(innermost(refused.value.cause))
    await run.result()
    await serve(world, *pair)


async def test_a_member_that_changes_its_group_is_still_obeyed_by_its_guest(world: World, pair: Pair) -> None:
    """The guest remembers the highest number that it has seen; the new group begins above it."""
    for _ in range(3):
        await (await restart(world, pair)).result()
    moved = pair[1]
    await world.write("INSERT INTO groups (id) VALUES (%s)", moved)
    await world.write("UPDATE instances SET group_id = id WHERE id = %s", moved)
    order = RestartOrder(instance_id=moved, operation_id=uuid4(), caller=Caller(project_id=PROJECT))
    await world.client.execute_workflow(RestartInstance.run, order, id=lock_id(moved), task_queue=RUNBOOKS)
    assert await steps_of(world, moved) == [(step, "DONE") for step in STEPS]
    await serve(world, *pair)
