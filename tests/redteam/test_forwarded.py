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

from contract.ports.guest import DatabaseList
from tests.redteam.inside import known_workers
from tests.redteam.scenario import Attacker, Scenario, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")


def heartbeat(queue: str, key: str, **more: object) -> WorkerHeartbeat:
    """A worker that says that it serves a queue, under a key."""
    said = {"sdk_name": "attacker", "status": WorkerStatus.WORKER_STATUS_RUNNING, **more}
    return WorkerHeartbeat(task_queue=queue, worker_instance_key=key, worker_identity=key, **said)  # type: ignore[arg-type]


def of(*heartbeats: WorkerHeartbeat, identity: str = "") -> RecordWorkerHeartbeatRequest:
    """The request that carries them."""
    return RecordWorkerHeartbeatRequest(namespace="coffer", identity=identity, worker_heartbeat=heartbeats)


async def registered(scenario: Scenario) -> None:
    """The victim's worker says that it is there, and Temporal knows it."""
    queue, honest = scenario.victim.guest_queue, Attacker.of(scenario.world, scenario.victim.guest)
    got = await honest.call("RecordWorkerHeartbeat", of(heartbeat(queue, queue, sdk_name="honest")))
    assert got.code is grpc.StatusCode.OK, got
    await honest.close()
    assert await is_as_it_was(scenario)


async def is_as_it_was(scenario: Scenario) -> bool:
    """Whether Temporal knows nothing of the victim's worker but what that has said itself: that it runs."""
    entry = (await known_workers(scenario.world))[scenario.victim.guest_queue]
    return entry.sdk_name != "attacker" and entry.status == WorkerStatus.WORKER_STATUS_RUNNING


async def test_an_answer_in_the_victims_name(scenario: Scenario, attacker: Attacker) -> None:
    """Temporal notes who answered: the guest whose token it was."""
    async with scenario.attack() as outcome, attacker.task() as (task, handle):
        victim = scenario.victim.guest_queue
        request = RespondActivityTaskCompletedRequest(task_token=task.task_token, identity=victim, resource_id=victim,
                                                      namespace="temporal-system")  # fmt: skip
        request.result.CopyFrom(await attacker.sealed(DatabaseList()))
        got = await attacker.call("RespondActivityTaskCompleted", request)
        assert got.code is grpc.StatusCode.OK, got
        await handle.result()
        assert (await handle.describe()).last_worker_identity == attacker.queue
        outcome.got = "an answer in its own name"


async def test_a_heartbeat_for_the_victims_queue(scenario: Scenario, attacker: Attacker) -> None:
    victim = scenario.victim.guest_queue
    async with scenario.attack() as outcome:
        await registered(scenario)
        got = await attacker.call("RecordWorkerHeartbeat", of(heartbeat(victim, victim), identity=victim))
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        assert await is_as_it_was(scenario)
        outcome.got = str(got)


async def test_a_heartbeat_under_the_victims_key(scenario: Scenario, attacker: Attacker) -> None:
    """The registry is keyed by what the worker says of itself; the gateway has another opinion."""
    victim = scenario.victim.guest_queue
    async with scenario.attack() as outcome:
        await registered(scenario)
        got = await attacker.call("RecordWorkerHeartbeat", of(heartbeat(attacker.queue, victim), identity=victim))
        assert got.code is grpc.StatusCode.OK, got
        known = await known_workers(scenario.world)
        assert [key for key, each in known.items() if each.sdk_name == "attacker"] == [attacker.queue]
        assert await is_as_it_was(scenario)
        outcome.got = "an entry under its own key"


async def test_a_heartbeat_from_another_machine(scenario: Scenario, attacker: Attacker) -> None:
    """Host, process and environment, by which operators would look for a worker, are not passed on."""
    async with scenario.attack() as outcome:
        host = WorkerHostInfo(host_name="control-plane", process_id="1", worker_grouping_key="all")
        await attacker.call("RecordWorkerHeartbeat", of(heartbeat(attacker.queue, attacker.queue, host_info=host)))
        entry = (await known_workers(scenario.world))[attacker.queue]
        assert (entry.host_name, entry.process_id, entry.worker_grouping_key) == ("", "", "")
        outcome.got = "an entry without a host"


async def test_heartbeats_of_many_workers(scenario: Scenario, attacker: Attacker) -> None:
    """Its own comes first, the victim's behind it."""
    victim = scenario.victim.guest_queue
    async with scenario.attack() as outcome:
        request = of(heartbeat(attacker.queue, attacker.queue), heartbeat(victim, victim, sdk_name="second"))
        got = await attacker.call("RecordWorkerHeartbeat", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        assert all(each.sdk_name != "second" for each in (await known_workers(scenario.world)).values())
        outcome.got = str(got)


async def test_shutting_the_victims_queue_down(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome:
        request = ShutdownWorkerRequest(namespace="coffer", task_queue=scenario.victim.guest_queue)
        got = await attacker.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        outcome.got = str(got)


async def test_shutting_a_sticky_queue_down(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome:
        request = ShutdownWorkerRequest(namespace="coffer", sticky_task_queue="runbooks", task_queue=attacker.queue)
        got = await attacker.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        outcome.got = str(got)


async def test_shutting_the_victims_worker_down(scenario: Scenario, attacker: Attacker) -> None:
    """The victim's polls go on: a call is answered at once, and the registry has the worker running."""
    victim = scenario.victim.guest_queue
    async with scenario.attack() as outcome:
        await registered(scenario)
        request = ShutdownWorkerRequest(namespace="coffer", identity=victim, worker_instance_key=victim,
                                        worker_heartbeat=heartbeat(attacker.queue, victim))  # fmt: skip
        got = await attacker.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.OK, got
        await (await ask(scenario.world, scenario.victim.instance_id, "get_health", seconds=5)).result()
        assert await is_as_it_was(scenario)
        outcome.got = "its own worker is shut down"


async def test_a_shutdown_with_the_victims_heartbeat(scenario: Scenario, attacker: Attacker) -> None:
    victim = scenario.victim.guest_queue
    async with scenario.attack() as outcome:
        await registered(scenario)
        request = ShutdownWorkerRequest(namespace="coffer", worker_heartbeat=heartbeat(victim, victim))
        got = await attacker.call("ShutdownWorker", request)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        assert await is_as_it_was(scenario)
        outcome.got = str(got)


async def test_what_is_told_of_the_namespace(scenario: Scenario, attacker: Attacker, other: Attacker) -> None:
    """The same to everybody: a name, two facts, and nothing that Temporal was asked for."""
    async with scenario.attack() as outcome:
        request = DescribeNamespaceRequest(namespace="coffer")
        said = DescribeNamespaceResponse.FromString((await attacker.call("DescribeNamespace", request)).answer)
        assert said.SerializeToString() == (await other.call("DescribeNamespace", request)).answer
        assert [each.name for each, _ in said.ListFields()] == ["namespace_info"]
        told = {each.name for each, _ in said.namespace_info.ListFields()}
        assert told == {"name", "state", "capabilities", "limits"}
        outcome.got = ", ".join(sorted(told))


async def test_what_is_told_of_the_server(scenario: Scenario, attacker: Attacker) -> None:
    """Not its real version, nor what it could do for others."""
    async with scenario.attack() as outcome:
        said = GetSystemInfoResponse.FromString((await attacker.call("GetSystemInfo", b"")).answer)
        granted = {each.name for each, _ in said.capabilities.ListFields()}
        assert granted <= {"signal_and_query_header", "internal_error_differentiation", "sdk_metadata",
                           "activity_failure_include_heartbeat", "encoded_failure_attributes"}  # fmt: skip
        outcome.got = f"{said.server_version}, {len(granted)} capabilities"
