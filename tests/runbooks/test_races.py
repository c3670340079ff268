"""The races that were reproduced on a real server: each test fails without its repair."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.testing import ActivityEnvironment

from activities.records import PostgresRecords, RunQuestions
from contract.domain.errors import FenceLost
from contract.domain.instance import InstanceStatus
from contract.domain.operation import Caller, CloseOperation, MemberEnd, OperationState, RestartOrder, Step, StepsNote
from contract.names import RUNBOOKS, lock_id
from contract.ports.records import SweepOrder
from records.settings import RecordsSettings
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.world import PROJECT, World
from workflows.instance.restart import RestartInstance
from workflows.sweep import Sweep

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_second_operation_meets_the_lock(world: World) -> None:
    instance_id = await world.created()
    async with world.held("stop_datastore") as step:
        first = await world.restart(instance_id)
        await step.arrived()
        with pytest.raises(WorkflowAlreadyStartedError):
            await world.restart(instance_id)
    await first.result()
    assert world.instance(instance_id)["status"] == "ACTIVE"


async def test_a_run_under_another_id_than_its_lock_refuses_itself(world: World) -> None:
    instance_id = await world.created()
    order = RestartOrder(instance_id=instance_id, caller=Caller(project_id=PROJECT))
    end = await world.client.execute_workflow(RestartInstance.run, order, id=f"mine/{uuid4()}", task_queue=RUNBOOKS)
    assert end == f"refused: this runbook must run under the workflow id {lock_id(instance_id)}"
    assert len(await world.reader.list_operations(instance_id)) == 1


async def test_a_terminated_run_is_settled_and_its_zombie_writes_nothing(world: World) -> None:
    """A run ends from outside in mid-step: its attempt is still at work, the next operation must win."""
    instance_id = await world.created()
    async with world.held("stop_datastore") as step:
        run = await world.restart(instance_id)
        await step.arrived()
        await run.terminate("the test")
        stale = [each for each in await world.reader.list_operations(instance_id) if each.state == "RUNNING"]
        assert len(stale) == 1
        await (await world.restart(instance_id)).result()  # its admission closes the stale operation
    await asyncio.sleep(1.5)  # the zombie goes on now, with a lower fence number: the guest refuses it
    by_id = {each.id: each.state for each in await world.reader.list_operations(instance_id)}
    assert by_id[stale[0].id] == "INTERRUPTED"
    assert world.instance(instance_id)["status"] == "ACTIVE"
    services = world.guests[0].services
    assert services is not None
    assert services.supervisor.wanted
    assert services.datastore.answers()


async def test_records_refuse_an_older_fence(world: World) -> None:
    instance_id = await world.created()
    await (await world.restart(instance_id)).result()
    newest, creation = await world.reader.list_operations(instance_id)
    assert (newest.kind, creation.kind) == ("restart", "create")
    records = PostgresRecords(world.engine, RunQuestions(world.client), RecordsSettings().default_quotas())
    environment = ActivityEnvironment()
    late_step = Step(number=99, name="late", began=datetime.now(UTC))
    note: Any = StepsNote(operation_id=creation.id, fence=1, steps=(late_step,))
    with pytest.raises(FenceLost):
        await environment.run(records.note_steps, note)
    late = CloseOperation(
        operation_id=creation.id,
        fence=1,
        state=OperationState.FAILED,
        reason="late",
        ends=(MemberEnd(instance_id=instance_id, status=InstanceStatus.ERROR),),
    )
    with pytest.raises(ApplicationError):
        await environment.run(records.close, late)
    assert world.instance(instance_id) == {"status": "ACTIVE", "fault": None, "deleted": False}


async def test_the_sweep_settles_a_terminated_creation(world: World) -> None:
    order = world.order()
    async with world.held("create_server") as step:
        run = await world.start(order)
        await step.arrived()
        await run.terminate("the test")
    aged = "UPDATE operations SET created = created - interval '1 minute' WHERE group_id = %s"
    await world.write(aged, order.instance_id)
    sweep = await world.client.start_workflow(
        Sweep.run, SweepOrder(verb="settle_stale_operations"), id=f"sweep/{uuid4()}", task_queue=RUNBOOKS
    )
    async with asyncio.timeout(120):
        while world.instance(order.instance_id)["status"] != "ERROR":  # noqa: ASYNC110 - the records tell nobody
            await asyncio.sleep(0.2)
    await world.ended(order.instance_id)
    assert world.instance(order.instance_id)["deleted"] is False
    assert "interrupted" in world.instance(order.instance_id)["fault"]
    assert (await sweep.describe()).close_time is None  # it goes on: one run, however many turns
    await sweep.terminate("the test")
    await nothing_is_left(world, order.instance_id)


async def test_an_attempt_that_takes_effect_later_leaves_no_second_server(world: World) -> None:
    """Nova takes longer than we wait, and makes the server all the same; the retry has made another one by then."""
    world.stack.fault(service="compute", method="POST", path="/servers$", delay=9)
    try:
        order = world.order()
        handle = await world.start(order)
        await asyncio.wait_for(handle.result(), 60)
        await asyncio.sleep(2)
        # what came too late is named by the sweep, and teardown takes everything of the instance's name
        await world.delete(order.instance_id)
        await world.ended(order.instance_id)
        await nothing_is_left(world, order.instance_id)
    finally:
        world.stack.no_more_faults()


async def test_nobody_waits_any_more_and_nothing_is_touched(world: World) -> None:
    order = world.order().model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    handle = await world.start(order)
    assert "refused: nobody waits" in await handle.result()
    assert world.instance(order.instance_id) == {}
    assert world.client.get_workflow_handle(lock_id(order.instance_id)) is not None


async def test_quota_is_never_exceeded_by_two_at_once(world: World) -> None:
    project = f"q-{uuid4()}"
    await world.write("INSERT INTO quotas (project_id, resource, ceiling) VALUES (%s, 'instances', 1)", project)
    orders = [world.order().model_copy(update={"caller": Caller(project_id=project)}) for _ in range(4)]
    handles = [await world.start(order) for order in orders]
    ends = await asyncio.gather(*(each.result() for each in handles))
    assert ends.count(None) == 1
    assert ends.count("refused: Quota exceeded for resources: ['instances'].") == 3
