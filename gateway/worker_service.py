"""The calls of Temporal's WorkflowService that an activity worker makes, each rebuilt from what may be in it.

Names of a request (namespace, queue, identity) are never taken from the guest. What a guest answers is either passed on
or replaced by a failure `GuestProtocolError`: a worker that is told INVALID_ARGUMENT only logs it, and the operation
would wait for its timeout.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from temporalio.api.enums.v1 import NamespaceState, TaskQueueKind, TaskQueueType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.namespace.v1 import NamespaceInfo
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    GetSystemInfoResponse,
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RecordWorkerHeartbeatRequest,
    RecordWorkerHeartbeatResponse,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    ShutdownWorkerRequest,
    ShutdownWorkerResponse,
)

from contract.keys.keyring import Keyring
from contract.wire.answers import MAX_BYTES
from gateway.denied import Denied, forbidden, garbled
from gateway.guest import Guest
from gateway.limits import Limits
from gateway.seals import NotSealed, check_seals
from gateway.tokens import TaskTokens
from gateway.upstream import Upstream
from gateway.wire import Count, Garbage, TooDeep, check_depth, fields

SERVER_VERSION = "1.32.0"  # whose behaviour guests may count on
POLL_SECONDS = 75.0  # Temporal ends a poll after 60
CALL_SECONDS = 10.0
MAX_ANSWER = MAX_BYTES + 4096  # a message: the largest answer that is believed, its seal, and what else is in it
MAX_REQUEST = 16_384  # that is about no task: decoded, it may be a hundred times as large
TOKEN, FAILURE = 1, 2  # fields that every request about a task has in the same places

Asked = TypeVar("Asked", bound=Message)
Spend = Callable[[Guest, float], None]
Rpc = Callable[[Guest, bytes, float], Awaitable[bytes]]
Task = (
    RespondActivityTaskCompletedRequest
    | RespondActivityTaskFailedRequest
    | RespondActivityTaskCanceledRequest
    | RecordActivityTaskHeartbeatRequest
)


class Unacceptable(Exception):
    """What a guest says of a task must not be passed on; its operation is told so."""


class WorkerService:
    """Serves one guest at a time, and any number side by side."""

    def __init__(self, upstream: Upstream, keyring: Keyring, limits: Limits, spend: Spend) -> None:
        self._upstream = upstream
        self._keyring = keyring
        self._limits = limits
        self._spend = spend
        self._tokens = TaskTokens(keyring)
        self.rpcs: dict[str, Rpc] = {
            "GetSystemInfo": self._system_info,
            "DescribeNamespace": self._describe_namespace,
            "PollActivityTaskQueue": self._poll,
            "RespondActivityTaskCompleted": self._completed,
            "RespondActivityTaskFailed": self._failed,
            "RespondActivityTaskCanceled": self._canceled,
            "RecordActivityTaskHeartbeat": self._heartbeat,
            "RecordWorkerHeartbeat": self._worker_heartbeat,
            "ShutdownWorker": self._shutdown,
        }

    # -- answered here -----------------------------------------------------------------------------------------------

    async def _system_info(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        capabilities = GetSystemInfoResponse.Capabilities(
            signal_and_query_header=True,
            internal_error_differentiation=True,
            activity_failure_include_heartbeat=True,
            encoded_failure_attributes=True,
            sdk_metadata=True,
        )
        return GetSystemInfoResponse(server_version=SERVER_VERSION, capabilities=capabilities).SerializeToString()

    async def _describe_namespace(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        asked = _decoded(DescribeNamespaceRequest, body)
        if asked.namespace != self._upstream.namespace:
            raise forbidden("this is not your namespace")
        info = NamespaceInfo(
            name=self._upstream.namespace,
            state=NamespaceState.NAMESPACE_STATE_REGISTERED,
            capabilities=NamespaceInfo.Capabilities(worker_heartbeats=True),
            limits=NamespaceInfo.Limits(blob_size_limit_error=MAX_BYTES),
        )
        return DescribeNamespaceResponse(namespace_info=info).SerializeToString()

    # -- tasks -------------------------------------------------------------------------------------------------------

    async def _poll(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        request = PollActivityTaskQueueRequest(
            namespace=self._upstream.namespace,
            task_queue=TaskQueue(name=guest.queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
            identity=guest.queue,
        )
        with self._limits.poll(guest) as usage:
            raw = await self._upstream.poll("PollActivityTaskQueue", request, min(seconds, POLL_SECONDS), usage)
        answer = PollActivityTaskQueueResponse.FromString(raw)
        if not answer.task_token:
            return raw
        answer.task_token = self._tokens.wrap(guest, answer.task_token)
        return answer.SerializeToString()

    async def _completed(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        return await self._answer(guest, body, seconds, RespondActivityTaskCompletedRequest, ("result",))

    async def _failed(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        kept = ("failure", "last_heartbeat_details")
        await self._answer(guest, body, seconds, RespondActivityTaskFailedRequest, kept)
        return b""

    async def _canceled(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        return await self._answer(guest, body, seconds, RespondActivityTaskCanceledRequest, ("details",))

    async def _heartbeat(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        return await self._answer(guest, body, seconds, RecordActivityTaskHeartbeatRequest, ("details",))

    async def _answer(
        self, guest: Guest, body: bytes, seconds: float, kind: type[Task], kept: tuple[str, ...]
    ) -> bytes:
        """Pass on what a guest says of a task, or in its stead that it cannot be passed on."""
        began = time.thread_time()
        try:
            token, request = self._read(guest, body, kind, kept)
        finally:
            self._spend(guest, time.thread_time() - began)
        if isinstance(request, Unacceptable):
            return await self._refuse(guest, token, str(request), seconds)
        for name, value in (("task_token", token), ("namespace", self._upstream.namespace), ("identity", guest.queue)):
            setattr(request, name, value)
        try:
            return await self._upstream.call(_rpc_of(kind), request, min(seconds, CALL_SECONDS))
        except Denied as denied:
            if denied.code is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
            return await self._refuse(guest, token, "Temporal does not take it", seconds)

    def _read(
        self, guest: Guest, body: bytes, kind: type[Task], kept: tuple[str, ...]
    ) -> tuple[bytes, Message | Unacceptable]:
        """Temporal's task token, and what to pass on or why not; denied when the token is not the guest's."""
        count = Count()
        said, whole = _token_in(body, count)
        token = self._tokens.unwrap(guest, said)
        try:
            if not whole:
                raise Unacceptable("it is no message of Temporal's")
            return token, self._checked(guest, body, kind, kept, count)
        except Unacceptable as error:
            return token, error

    async def _refuse(self, guest: Guest, token: bytes, why: str, seconds: float) -> bytes:
        info = ApplicationFailureInfo(type="GuestProtocolError", non_retryable=True)
        failure = Failure(
            message=f"the guest's answer was refused: {why}", source="gateway", application_failure_info=info
        )
        request = RespondActivityTaskFailedRequest(
            task_token=token, failure=failure, namespace=self._upstream.namespace, identity=guest.queue
        )
        await self._upstream.call("RespondActivityTaskFailed", request, min(seconds, CALL_SECONDS))
        return b""

    def _checked(self, guest: Guest, body: bytes, kind: type[Task], kept: tuple[str, ...], count: Count) -> Message:
        """Return a request with these fields of the guest's alone. Nothing is decoded before its size and depth are known."""
        if len(body) > MAX_ANSWER:
            raise Unacceptable(f"it is larger than {MAX_BYTES} bytes")
        try:
            if kind is RespondActivityTaskFailedRequest:
                for number, content in fields(memoryview(body), count):
                    if number == FAILURE:
                        check_depth(content, count)
            said = kind.FromString(body)
            said.DiscardUnknownFields()
            check_seals(self._keyring, guest, said)
        except TooDeep as error:
            raise Unacceptable(f"its failure has {error}") from None
        except (Garbage, DecodeError, RecursionError):
            raise Unacceptable("it is no message of Temporal's") from None
        except NotSealed as error:
            raise Unacceptable(str(error)) from None
        _settle(said)
        return kind(**{name: getattr(said, name) for name in kept if said.HasField(name)})  # type: ignore[arg-type]

    # -- the worker itself -------------------------------------------------------------------------------------------

    async def _worker_heartbeat(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        said = _decoded(RecordWorkerHeartbeatRequest, body)
        if len(said.worker_heartbeat) > 1:
            raise forbidden("a guest has one worker")
        request = RecordWorkerHeartbeatRequest(
            namespace=self._upstream.namespace,
            identity=guest.queue,
            worker_heartbeat=[_own(guest, each) for each in said.worker_heartbeat],
        )
        await self._upstream.call("RecordWorkerHeartbeat", request, min(seconds, CALL_SECONDS))
        return RecordWorkerHeartbeatResponse().SerializeToString()

    async def _shutdown(self, guest: Guest, body: bytes, seconds: float) -> bytes:
        said = _decoded(ShutdownWorkerRequest, body)
        if said.task_queue not in ("", guest.queue) or said.sticky_task_queue:
            raise forbidden("this is not your queue")
        request = ShutdownWorkerRequest(
            namespace=self._upstream.namespace,
            identity=guest.queue,
            reason="the guest's worker ends",
            task_queue=guest.queue,
            task_queue_types=[TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY],
            worker_instance_key=guest.queue,
        )
        if said.HasField("worker_heartbeat"):
            request.worker_heartbeat.CopyFrom(_own(guest, said.worker_heartbeat))
        await self._upstream.call("ShutdownWorker", request, min(seconds, CALL_SECONDS))
        return ShutdownWorkerResponse().SerializeToString()


def _own(guest: Guest, said: WorkerHeartbeat) -> WorkerHeartbeat:
    """A heartbeat in the guest's own name: the registry of workers is one for all, keyed by what the worker says."""
    if said.task_queue != guest.queue:
        raise forbidden("this is not your queue")
    own = WorkerHeartbeat()
    own.CopyFrom(said)
    own.DiscardUnknownFields()
    for name in ("host_info", "plugins", "drivers", "environment"):
        own.ClearField(name)
    own.worker_instance_key = own.worker_identity = guest.queue
    return own


def _settle(said: Task) -> None:
    """Refuse what would keep its operation, and drop what would delay it; the seals are known to be the guest's.

    How often and how soon a step is tried again is for whoever asks to say; a guest might say: in ten years.
    """
    if isinstance(said, RespondActivityTaskCompletedRequest) and len(said.result.payloads) != 1:
        raise Unacceptable("it is not one value")  # a list of none stops the workflow's worker from going on
    if isinstance(said, RespondActivityTaskFailedRequest):
        if said.failure.WhichOneof("failure_info") != "application_failure_info":
            raise Unacceptable("its failure is not an activity's")  # Temporal takes no other, and goes on waiting
        said.failure.application_failure_info.ClearField("next_retry_delay")
        said.failure.application_failure_info.ClearField("category")


def _rpc_of(kind: type[Message]) -> str:
    return kind.DESCRIPTOR.name.removesuffix("Request")


def _decoded(kind: type[Asked], body: bytes) -> Asked:
    if len(body) > MAX_REQUEST:
        raise garbled("the request is too large")
    try:
        return kind.FromString(body)
    except (DecodeError, RecursionError):
        raise garbled("this is no message of Temporal's") from None


def _token_in(body: bytes, count: Count) -> tuple[bytes, bool]:
    """The task token of a request, read off the wire, and whether what is behind it can be read, too.

    Of several tokens the last one counts, as decoders have it.
    """
    token = b""
    try:
        for number, content in fields(memoryview(body), count):
            if number == TOKEN:
                token = bytes(content)
    except Garbage:
        return token, False
    return token, True
