"""Other people's queues, methods that are not for guests, other namespaces, other languages than gRPC."""

import asyncio
import ssl
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from temporalio.api import operatorservice, workflowservice
from temporalio.api.cloud.cloudservice.v1 import CloudServiceStub
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.operatorservice.v1 import OperatorServiceStub
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    WorkflowServiceStub,
)

from contract.names import CLOUD, RECORDS, RUNBOOKS, lock_id, watch_id
from gateway.server import WORKER
from tests.redteam.inside import pollers
from tests.redteam.scenario import OPERATOR, Attacker, Got, Scenario, Victim, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHUT = "guests may not call this"
OPEN = {
    "GetSystemInfo",
    "DescribeNamespace",
    "PollActivityTaskQueue",
    "RespondActivityTaskCompleted",
    "RespondActivityTaskFailed",
    "RespondActivityTaskCanceled",
    "RecordActivityTaskHeartbeat",
    "RecordWorkerHeartbeat",
    "ShutdownWorker",
}
FAMILIES = {
    "starting a run": "StartWorkflowExecution SignalWithStartWorkflowExecution ExecuteMultiOperation",
    "telling a run": "SignalWorkflowExecution UpdateWorkflowExecution UpdateWorkflowExecutionOptions",
    "ending a run": "TerminateWorkflowExecution RequestCancelWorkflowExecution DeleteWorkflowExecution "
    "ResetWorkflowExecution PauseWorkflowExecution ResetStickyTaskQueue",
    "listing runs": "ListWorkflowExecutions ListOpenWorkflowExecutions ScanWorkflowExecutions CountWorkflowExecutions",
    "reading a run": "GetWorkflowExecutionHistory GetWorkflowExecutionHistoryReverse DescribeWorkflowExecution "
    "QueryWorkflow PollWorkflowExecutionUpdate",
    "looking at queues": "DescribeTaskQueue ListTaskQueuePartitions UpdateTaskQueueConfig "
    "ListWorkers CountWorkers DescribeWorker FetchWorkerConfig UpdateWorkerConfig",
    "short calls": "StartActivityExecution DescribeActivityExecution PollActivityExecution ListActivityExecutions "
    "TerminateActivityExecution RequestCancelActivityExecution DeleteActivityExecution",
    "answering by id": "RespondActivityTaskCompletedById RespondActivityTaskFailedById RespondActivityTaskCanceledById "
    "RecordActivityTaskHeartbeatById",
    "pausing a step": "PauseActivity ResetActivity UpdateActivityOptions UnpauseActivity PauseActivityExecution "
    "CreateWorkflowRule TriggerWorkflowRule",
    "schedules and batches": "CreateSchedule ListSchedules DescribeSchedule UpdateSchedule PatchSchedule DeleteSchedule "
    "StartBatchOperation ListBatchOperations DescribeBatchOperation StopBatchOperation",
    "namespaces": "RegisterNamespace UpdateNamespace DeprecateNamespace ListNamespaces GetClusterInfo",
    "workflow and nexus tasks": "PollWorkflowTaskQueue RespondWorkflowTaskCompleted RespondWorkflowTaskFailed "
    "RespondQueryTaskCompleted "
    "PollNexusTaskQueue RespondNexusTaskCompleted RespondNexusTaskFailed StartNexusOperationExecution",
    "versions of workers": "UpdateWorkerBuildIdCompatibility UpdateWorkerVersioningRules SetCurrentDeployment "
    "SetWorkerDeploymentCurrentVersion SetWorkerDeploymentRampingVersion DeleteWorkerDeployment",
}
STRANGE = {
    "reflection and health": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo "
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo "
    "/grpc.health.v1.Health/Check /grpc.health.v1.Health/Watch",
    "Temporal's inside": "/temporal.server.api.adminservice.v1.AdminService/DescribeCluster "
    "/temporal.server.api.historyservice.v1.HistoryService/RecordActivityTaskStarted "
    "/temporal.server.api.matchingservice.v1.MatchingService/PollActivityTaskQueue",
    "misspelt paths": f"/{WORKER}GetSystemInfo {WORKER.lower()}getsysteminfo {WORKER}GetSystemInfo/ {WORKER}/GetSystemInfo "
    f"{WORKER.replace('/', '%2F')}GetSystemInfo {WORKER}PollActivityTaskQueue?x {WORKER} / "
    f"/temporal.api.workflowservice.v1.WorkflowService.PollActivityTaskQueue {WORKER}../WorkflowService/ListNamespaces",
    "other services of ours": "/coffer.gateway.v1.Identity/Revoke /coffer.gateway.v1.Identity/expect_guest "
    "/coffer.gateway.v1.Identity/enrol /coffer.gateway.v1.Identity/ /coffer.gateway.v1.Admin/Keys",
}
HEADERS = (
    (("temporal-namespace", "temporal-system"),),
    (("caller-name", "temporal-system"), ("caller-type", "operator"), ("call-origin", "history")),
    (("x-forwarded-for", "127.0.0.1"), ("x-forwarded-client-cert", "By=spiffe://control-plane")),
    (("authorization-extras", "Bearer admin"), ("client-name", "temporal-server")),
)


class Paths:
    """Stands for a channel, and keeps the paths of the methods that a stub would call."""

    def __init__(self, stub: Any) -> None:
        self.found: list[str] = []
        stub(self)

    def unary_unary(self, path: str, *_: Any, **__: Any) -> None:
        """What a stub asks of a channel."""
        self.found.append(path)

    unary_stream = stream_unary = stream_stream = unary_unary


def aimed(path: str, victim: Victim) -> Message:
    """A request of a method of Temporal's, with the victim wherever it names something."""
    name = f"{path.rpartition('/')[2]}Request"
    kind = getattr(workflowservice.v1, name, None) or getattr(operatorservice.v1, name)
    run = lock_id(victim.instance_id)
    aim: dict[str, Any] = {
        "namespace": "coffer", "WorkflowExecution": WorkflowExecution(workflow_id=run), "workflow_id": run,
        "activity_id": "1", "schedule_id": watch_id(victim.instance_id), "identity": victim.guest_queue,
        "TaskQueue": TaskQueue(name=victim.guest_queue), "task_queue": victim.guest_queue, "query": "",
        "worker_instance_key": victim.guest_queue,
    }  # fmt: skip
    request: Message = kind()
    for field in kind.DESCRIPTOR.fields:
        value = aim.get(field.message_type.name if field.message_type else field.name)
        if value is not None and not field.is_repeated:
            getattr(request, field.name).CopyFrom(value) if field.message_type else setattr(request, field.name, value)
    return request


async def shut(attacker: Attacker, path: str, request: Message | bytes = b"") -> Got:
    """Call a method by its whole path; AssertionError unless it is not for guests."""
    await asyncio.sleep(0.005)  # more a second is too many, whatever it is
    got = await attacker.call(path, request, service="")
    assert (got.code, got.text) == (grpc.StatusCode.PERMISSION_DENIED, SHUT), path
    return got


def poll_of(queue: str, kind: Any = TaskQueueKind.TASK_QUEUE_KIND_NORMAL, **more: Any) -> PollActivityTaskQueueRequest:
    """A poll of any queue."""
    return PollActivityTaskQueueRequest(
        **{"namespace": "coffer", "task_queue": TaskQueue(name=queue, kind=kind), **more}
    )


async def own_task(scenario: Scenario, request: Message, metadata: Any = ()) -> str:
    """Poll while a task waits for the attacker; whatever the poll names, it must bring that one."""
    attacker = scenario.attacker
    handle = await ask(scenario.world, attacker.instance_id, "list_databases")
    got = await attacker.call("PollActivityTaskQueue", request, metadata=metadata)
    assert PollActivityTaskQueueResponse.FromString(got.answer).activity_id == handle.id
    await handle.terminate()
    return "the attacker's own task"


# -- queues ----------------------------------------------------------------------------------------------------------


async def test_polling_the_victims_queue(scenario: Scenario, attacker: Attacker) -> None:
    """The poll is for the attacker's own queue, whatever it names: the victim's task goes to the victim."""
    async with scenario.attack() as outcome:
        polling = asyncio.create_task(attacker.poll(queue=scenario.victim.guest_queue, seconds=3))
        await (await ask(scenario.world, scenario.victim.instance_id, "get_health")).result()
        task = await polling
        assert not task.task_token
        outcome.got = "no task in 3 s"


@pytest.mark.parametrize("queue", [RUNBOOKS, CLOUD, RECORDS])
async def test_polling_a_queue_of_the_control_plane(scenario: Scenario, queue: str) -> None:
    async with scenario.attack() as outcome:
        outcome.got = await own_task(scenario, poll_of(queue))
        assert not any(each.startswith("guest/") for each in await pollers(scenario.world, queue))


async def test_polling_a_sticky_queue(scenario: Scenario) -> None:
    async with scenario.attack() as outcome:
        request = poll_of(scenario.victim.guest_queue)
        request.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_STICKY
        request.task_queue.normal_name = RUNBOOKS
        outcome.got = await own_task(scenario, request)


async def test_polling_a_partition_of_a_queue(scenario: Scenario) -> None:
    """Partitions have names of their own inside Temporal."""
    async with scenario.attack() as outcome:
        outcome.got = await own_task(scenario, poll_of(f"/_sys/{scenario.victim.guest_queue}/1"))


async def test_polling_as_the_victims_worker(scenario: Scenario) -> None:
    """Keys by which Temporal sends a worker its tasks and commands."""
    victim = scenario.victim.guest_queue
    async with scenario.attack() as outcome:
        more = {"identity": victim, "worker_instance_key": victim, "worker_control_task_queue": victim,
                "poller_group_id": victim}  # fmt: skip
        outcome.got = await own_task(scenario, poll_of(victim, **more))
        assert await pollers(scenario.world, scenario.attacker.queue) == {scenario.attacker.queue}


async def test_polling_in_another_namespace(scenario: Scenario) -> None:
    async with scenario.attack() as outcome:
        for each in ("temporal-system", "default", ""):
            outcome.got = await own_task(scenario, poll_of("temporal-sys-per-ns-tq", namespace=each))


async def test_describing_another_namespace(scenario: Scenario, attacker: Attacker) -> None:
    asked = [
        DescribeNamespaceRequest(namespace=each) for each in ("temporal-system", "default", "", "Coffer", "coffer\0")
    ]
    async with scenario.attack() as outcome:
        for each in [*asked, DescribeNamespaceRequest(id="32049b68-7872-4094-8e63-d0dd59896a83")]:
            got = await attacker.call("DescribeNamespace", each)
            assert got.code is grpc.StatusCode.PERMISSION_DENIED, each
        outcome.got = str(got)


async def test_spoofed_headers(scenario: Scenario) -> None:
    async with scenario.attack() as outcome:
        for each in HEADERS:
            outcome.got = await own_task(scenario, poll_of("temporal-sys-processor-parent-close-policy"), each)
            assert (await scenario.attacker.call("ListWorkflowExecutions", b"", metadata=each)).denied, each


# -- methods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("methods", FAMILIES.values(), ids=FAMILIES)
async def test_methods_for_others(scenario: Scenario, attacker: Attacker, methods: str) -> None:
    """Each request is one that would do it, aimed at the victim."""
    async with scenario.attack() as outcome:
        for each in methods.split():
            got = await shut(attacker, f"{WORKER}{each}", aimed(each, scenario.victim))
        outcome.got = str(got)


async def test_all_methods_of_temporal(scenario: Scenario, attacker: Attacker) -> None:
    """Whatever the service has, nine methods are for guests; the operators' service has none."""
    paths = [*Paths(WorkflowServiceStub).found, *Paths(OperatorServiceStub).found]
    async with scenario.attack() as outcome:
        for each in paths:
            if each.removeprefix(WORKER) not in OPEN:
                await shut(attacker, each, aimed(each, scenario.victim))
        outcome.got = f"{len(paths) - len(OPEN)} of {len(paths)} methods denied"
    assert len(paths) > 130 and {f"{WORKER}{each}" for each in OPEN} < set(paths)


async def test_the_nine_methods_for_guests(scenario: Scenario, attacker: Attacker) -> None:
    """With nothing in them they do no harm, and none says that it is not for guests."""
    async with scenario.attack() as outcome:
        said = {each: await attacker.call(each, b"", seconds=0.5) for each in sorted(OPEN)}
        assert all(got.text != SHUT for got in said.values()), said
        outcome.got = ", ".join(sorted({got.code.name for got in said.values()}))


async def test_the_service_of_operators(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome:
        for each in ("AddSearchAttributes", "RemoveSearchAttributes", "DeleteNamespace", "CreateNexusEndpoint"):
            got = await shut(attacker, f"{OPERATOR}{each}", aimed(each, scenario.victim))
        outcome.got = str(got)


async def test_the_service_of_temporals_cloud(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome:
        for each in Paths(CloudServiceStub).found:
            got = await shut(attacker, each)
        outcome.got = str(got)


@pytest.mark.parametrize("paths", STRANGE.values(), ids=STRANGE)
async def test_methods_that_nobody_has(scenario: Scenario, attacker: Attacker, paths: str) -> None:
    async with scenario.attack() as outcome:
        for each in paths.split():
            got = await shut(attacker, each, b"")
        outcome.got = str(got)


async def test_two_requests_in_one_call(scenario: Scenario, attacker: Attacker) -> None:
    """The first is one that guests may make; nobody reads the second."""
    async with scenario.attack() as outcome:
        call: Any = attacker.channel.stream_unary(f"{WORKER}DescribeNamespace")
        bodies = [
            DescribeNamespaceRequest(namespace=each).SerializeToString() for each in ("coffer", "temporal-system")
        ]
        answer = await call(iter(bodies), metadata=(("authorization", f"Bearer {attacker.known.token}"),), timeout=5)
        assert b"coffer" in answer and b"temporal-system" not in answer
        outcome.got = "the answer to the first"


# -- other languages -------------------------------------------------------------------------------------------------


async def test_grpc_without_tls(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome:
        async with grpc.aio.insecure_channel(scenario.world.gateway.address) as channel:
            plain = Attacker(attacker.known, attacker.instance_id, attacker.world, channel)
            got = await plain.call("GetSystemInfo", b"", seconds=3)
        assert got.code is not grpc.StatusCode.OK
        outcome.got = got.code.name


async def test_temporals_http_interface(scenario: Scenario, attacker: Attacker) -> None:
    """Temporal's frontend also speaks JSON over HTTP; the gateway does not."""
    trust = ssl.create_default_context(cadata=scenario.world.gateway.ca)
    lines = (
        "GET /api/v1/namespaces HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {attacker.known.token}",
        "",
        "",
    )
    async with scenario.attack() as outcome:
        answer = b""
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", scenario.world.gateway.settings.gateway_port, ssl=trust
            )
            writer.write("\r\n".join(lines).encode())
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
        except (OSError, TimeoutError) as error:
            outcome.got = type(error).__name__
        assert b"HTTP/1.1 2" not in answer and b"namespace" not in answer
        outcome.got = outcome.got or f"{len(answer)} bytes, none of them HTTP"
