"""Other people's queues, methods that are not for guests, other namespaces."""

import asyncio

import grpc
import pytest
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from tests.redteam.field import Field, Thief, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_polling_the_victims_queue(field: Field, thief: Thief) -> None:
    """The poll is for the thief's own queue, whatever it names: the victim's task goes to the victim."""
    async with field.attack() as loot:
        polling = asyncio.create_task(thief.poll(queue=field.victim.guest_queue, seconds=3))
        await (await ask(field.world, field.victim.instance_id, "get_health")).result()
        task = await polling
        assert not task.task_token
        loot.got = "no task in 3 s"


async def test_starting_a_workflow(field: Field, thief: Thief) -> None:
    async with field.attack() as loot:
        got = await thief.call("StartWorkflowExecution", StartWorkflowExecutionRequest(namespace="coffer"))
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        loot.got = str(got)
