"""What the control plane sees of guests, at Temporal's own frontend; and what a clever guest can know of Temporal."""

import asyncio
from typing import Any

from temporalio.api.enums.v1 import EventType, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.worker.v1 import WorkerListInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    ListWorkersRequest,
)
from temporalio.client import ActivityExecutionStatus, ActivityHandle

from contract.names import lock_id
from tests.redteam.scenario import Attacker, Got
from tests.runbooks.world import World


async def pollers(world: World, queue: str) -> set[str]:
    """Identities of those who have polled a queue for activities in the last minutes."""
    request = DescribeTaskQueueRequest(namespace="coffer", task_queue=TaskQueue(name=queue),
                                       task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)  # fmt: skip
    return {each.identity for each in (await world.client.workflow_service.describe_task_queue(request)).pollers}


async def polling(guest: Attacker) -> "asyncio.Task[Got]":
    """A long poll of a guest's, begun; of one that has never polled before."""
    task = asyncio.create_task(guest.call("PollActivityTaskQueue", b"", seconds=60))
    for _ in range(100):
        if await pollers(guest.world, guest.queue):
            return task
        await asyncio.sleep(0.05)
    raise AssertionError("the poll does not arrive")


async def known_workers(world: World) -> dict[str, WorkerListInfo]:
    """Temporal's registry of workers, by the key of each."""
    answer = await world.client.workflow_service.list_workers(ListWorkersRequest(namespace="coffer"))
    return {each.worker_instance_key: each for each in answer.workers}


async def is_open(handle: "ActivityHandle[Any]") -> bool:
    """Whether a short call still waits for its guest."""
    return (await handle.describe()).status is ActivityExecutionStatus.RUNNING


async def forged(world: World, instance_id: Any) -> bytes:
    """A token of the step that an instance's guest has in hand, made of what is no secret: Temporal signs none.

    As in temporal/server/api/token/v1: namespace id, workflow id, run id, number of the event, attempt, activity id.
    """
    run = world.client.get_workflow_handle(lock_id(instance_id))
    described = await run.describe()
    (pending,) = described.raw_description.pending_activities
    scheduled = [each.event_id async for each in run.fetch_history_events()
                 if each.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]  # fmt: skip
    namespace = await world.client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="coffer"))
    return (
        _text(1, namespace.namespace_info.id)
        + _text(2, lock_id(instance_id))
        + _text(3, described.run_id)
        + _number(4, scheduled[-1])
        + _number(5, pending.attempt)
        + _text(6, pending.activity_id)
    )


def _text(number: int, text: str) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(text.encode())) + text.encode()


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low]) if value < 0x80 else bytes([low | 0x80]) + _varint(value >> 7)
