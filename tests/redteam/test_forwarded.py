"""What the nine methods pass on: whatever a guest says, Temporal is told the guest's own name, queue and namespace."""

import grpc
import pytest
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerHostInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    GetSystemInfoResponse,
    RecordWorkerHeartbeatRequest,
    RespondActivityTaskCompletedRequest,
    ShutdownWorkerRequest,
)

from tests.redteam.field import Field, Thief, ask
from tests.redteam.inside import known_workers
from workflows.ports.guest import DatabaseList

pytestmark = pytest.mark.asyncio(loop_scope="session")


def heartbeat(queue: str, key: str, **more: object) -> WorkerHeartbeat:
    """A worker that says that it serves a queue, under a key."""
    said = {"sdk_name": "thief", "status": WorkerStatus.WORKER_STATUS_RUNNING, **more}
    return WorkerHeartbeat(task_queue=queue, worker_instance_key=key, worker_identity=key, **said)  # type: ignore[arg-type]


def of(*heartbeats: WorkerHeartbeat, identity: str = "") -> RecordWorkerHeartbeatRequest:
    """The request that carries them."""
    return RecordWorkerHeartbeatRequest(namespace="coffer", identity=identity, worker_heartbeat=heartbeats)


async def registered(field: Field) -> None:
    """The victim's worker says that it is there, and Temporal knows it."""
    queue, honest = field.victim.guest_queue, Thief.of(field.world, field.victim.guest)
    got = await honest.call("RecordWorkerHeartbeat", of(heartbeat(queue, queue, sdk_name="honest")))
    assert got.code is grpc.StatusCode.OK, got
    await honest.close()
    assert await is_as_it_was(field)


async def is_as_it_was(field: Field) -> bool:
    """Whether Temporal knows nothing of the victim's worker but what that has said itself: that it runs."""
    entry = (await known_workers(field.world))[field.victim.guest_queue]
    return entry.sdk_name != "thief" and entry.status == WorkerStatus.WORKER_STATUS_RUNNING


async def test_an_answer_in_the_victims_name(field: Field, thief: Thief) -> None:
    """Temporal notes who answered: the guest whose token it was."""
    async with field.attack() as loot, thief.task() as (task, handle):
        victim = field.victim.guest_queue
        request = RespondActivityTaskCompletedRequest(task_token=task.task_token, identity=victim, resource_id=victim,
                                                      namespace="temporal-system")  # fmt: skip
        request.result.CopyFrom(await thief.sealed(DatabaseList()))
        got = await thief.call("RespondActivityTaskCompleted", request)
        assert got.code is grpc.StatusCode.OK, got
        await handle.result()
        assert (await handle.describe()).last_worker_identity == thief.queue
        loot.got = "an answer in its own name"


async def test_a_heartbeat_for_the_victims_queue(field: Field, thief: Thief) -> None:
    victim = field.victim.guest_queue
    async with field.attack() as loot:
        await registered(field)
        got = await thief.call("RecordWorkerHeartbeat", of(heartbeat(victim, victim), identity=victim))
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        assert await is_as_it_was(field)
        loot.got = str(got)


async def test_a_heartbeat_under_the_victims_key(field: Field, thief: Thief) -> None:
    """The registry is keyed by what the worker says of itself; the gateway has another opinion."""
    victim = field.victim.guest_queue
    async with field.attack() as loot:
        await registered(field)
        got = await thief.call("RecordWorkerHeartbeat", of(heartbeat(thief.queue, victim), identity=victim))
        assert got.code is grpc.StatusCode.OK, got
        known = await known_workers(field.world)
        assert [key for key, each in known.items() if each.sdk_name == "thief"] == [thief.queue]
        assert await is_as_it_was(field)
        loot.got = "an entry under its own key"


async def test_a_heartbeat_from_another_machine(field: Field, thief: Thief) -> None:
    """Host, process and environment, by which operators would look for a worker, are not passed on."""
    async with field.attack() as loot:
        host = WorkerHostInfo(host_name="control-plane", process_id="1", worker_grouping_key="all")
        await thief.call("RecordWorkerHeartbeat", of(heartbeat(thief.queue, thief.queue, host_info=host)))
        entry = (await known_workers(field.world))[thief.queue]
        assert (entry.host_name, entry.process_id, entry.worker_grouping_key) == ("", "", "")
        loot.got = "an entry without a host"


async def test_heartbeats_of_many_workers(field: Field, thief: Thief) -> None:
    """Its own comes first, the victim's behind it."""
    victim = field.victim.guest_queue
    async with field.attack() as loot:
        request = of(heartbeat(thief.queue, thief.queue), heartbeat(victim, victim, sdk_name="second"))
        got = await thief.call("RecordWorkerHeartbeat", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        assert all(each.sdk_name != "second" for each in (await known_workers(field.world)).values())
        loot.got = str(got)


async def test_shutting_the_victims_queue_down(field: Field, thief: Thief) -> None:
    async with field.attack() as loot:
        request = ShutdownWorkerRequest(namespace="coffer", task_queue=field.victim.guest_queue)
        got = await thief.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        loot.got = str(got)


async def test_shutting_a_sticky_queue_down(field: Field, thief: Thief) -> None:
    async with field.attack() as loot:
        request = ShutdownWorkerRequest(namespace="coffer", sticky_task_queue="runbooks", task_queue=thief.queue)
        got = await thief.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        loot.got = str(got)


async def test_shutting_the_victims_worker_down(field: Field, thief: Thief) -> None:
    """The victim's polls go on: a call is answered at once, and the registry has the worker running."""
    victim = field.victim.guest_queue
    async with field.attack() as loot:
        await registered(field)
        request = ShutdownWorkerRequest(namespace="coffer", identity=victim, worker_instance_key=victim,
                                        worker_heartbeat=heartbeat(thief.queue, victim))  # fmt: skip
        got = await thief.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.OK, got
        await (await ask(field.world, field.victim.instance_id, "get_health", seconds=5)).result()
        assert await is_as_it_was(field)
        loot.got = "its own worker is shut down"


async def test_a_shutdown_with_the_victims_heartbeat(field: Field, thief: Thief) -> None:
    victim = field.victim.guest_queue
    async with field.attack() as loot:
        await registered(field)
        request = ShutdownWorkerRequest(namespace="coffer", worker_heartbeat=heartbeat(victim, victim))
        got = await thief.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        assert await is_as_it_was(field)
        loot.got = str(got)


async def test_what_is_told_of_the_namespace(field: Field, thief: Thief, other: Thief) -> None:
    """The same to everybody: a name, two facts, and nothing that Temporal was asked for."""
    async with field.attack() as loot:
        request = DescribeNamespaceRequest(namespace="coffer")
        said = DescribeNamespaceResponse.FromString((await thief.call("DescribeNamespace", request)).answer)
        assert said.SerializeToString() == (await other.call("DescribeNamespace", request)).answer
        assert [each.name for each, _ in said.ListFields()] == ["namespace_info"]
        told = {each.name for each, _ in said.namespace_info.ListFields()}
        assert told == {"name", "state", "capabilities", "limits"}
        loot.got = ", ".join(sorted(told))


async def test_what_is_told_of_the_server(field: Field, thief: Thief) -> None:
    """Not its real version, nor what it could do for others."""
    async with field.attack() as loot:
        said = GetSystemInfoResponse.FromString((await thief.call("GetSystemInfo", b"")).answer)
        granted = {each.name for each, _ in said.capabilities.ListFields()}
        assert granted <= {"signal_and_query_header", "internal_error_differentiation", "sdk_metadata",
                           "activity_failure_include_heartbeat", "encoded_failure_attributes"}  # fmt: skip
        loot.got = f"{said.server_version}, {len(granted)} capabilities"
