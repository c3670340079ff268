"""A guest as light as can be: thousands fit beside what is measured. It speaks with a bare channel of its own."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, TypeVar
from uuid import UUID

import grpc
import grpc.aio
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import (
    GetSystemInfoRequest,
    GetSystemInfoResponse,
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RecordActivityTaskHeartbeatResponse,
    RecordWorkerHeartbeatRequest,
    RecordWorkerHeartbeatResponse,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskCompletedResponse,
)

from contract.keys.keyring import OwnKeyring, Ring
from contract.names import guest_queue
from contract.wire.codec import SealingCodec
from deploy.temporal import NAMESPACE

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService"
POLL_SECONDS = 70.0  # as the SDK asks
CALL_SECONDS = 30.0
HEALTH = b'{"operating_status":"HEALTHY","volume_used_bytes":104857600,"volume_total_bytes":1073741824}'
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else all channels of a process would share one connection
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 30_000),  # as the SDK does
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 20_000),  # how long a connection may take to come about
)
Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True)
class Card:
    """Who a light guest is, and whom it asks: the gateway with a token, or Temporal itself with none."""

    instance_id: str
    key: str  # its own, hexadecimal
    address: str
    token: str = ""
    ca: str = ""

    def as_json(self) -> dict[str, str]:
        """For a process of guests; `Card(**…)` reads it."""
        return asdict(self)


class LightGuest:
    """Makes the calls that a worker makes, and no others."""

    def __init__(self, card: Card) -> None:
        self.queue = guest_queue(UUID(card.instance_id))
        self._codec = SealingCodec(OwnKeyring(card.instance_id, Ring.of(bytes.fromhex(card.key))))
        self._metadata = (("authorization", f"Bearer {card.token}"),) if card.token else ()
        self._card = card
        self._channel = _dial(card)

    async def poll(self) -> PollActivityTaskQueueResponse:
        """Wait for a task; without one after a minute."""
        request = PollActivityTaskQueueRequest(
            namespace=NAMESPACE, task_queue=TaskQueue(name=self.queue), identity=self.queue
        )
        return await self._call(request, PollActivityTaskQueueResponse, POLL_SECONDS)

    async def complete(self, task_token: bytes) -> None:
        """Answer a task with nothing, sealed as the SDK seals it."""
        nothing = Payloads(payloads=await self._codec.encode([Payload(metadata={"encoding": b"binary/null"})]))
        request = RespondActivityTaskCompletedRequest(
            task_token=task_token, result=nothing, namespace=NAMESPACE, identity=self.queue
        )
        await self._call(request, RespondActivityTaskCompletedResponse)

    async def health(self) -> Payloads:
        """What a guest says with each heartbeat of its watch, sealed."""
        plain = Payload(metadata={"encoding": b"json/plain"}, data=HEALTH)
        return Payloads(payloads=await self._codec.encode([plain]))

    async def heartbeat(self, task_token: bytes, details: Payloads) -> None:
        """Say that a task goes on."""
        request = RecordActivityTaskHeartbeatRequest(
            task_token=task_token, details=details, namespace=NAMESPACE, identity=self.queue
        )
        await self._call(request, RecordActivityTaskHeartbeatResponse)

    async def worker_heartbeat(self) -> None:
        """Say that the worker is there, as the SDK does once a minute."""
        own = WorkerHeartbeat(
            worker_instance_key=hashlib.sha256(self.queue.encode()).hexdigest()[:32], worker_identity=self.queue,
            task_queue=self.queue, sdk_name="temporal-python", sdk_version="1.35.0",
        )  # fmt: skip
        request = RecordWorkerHeartbeatRequest(namespace=NAMESPACE, identity=self.queue, worker_heartbeat=[own])
        await self._call(request, RecordWorkerHeartbeatResponse)

    async def knock(self, seconds: float) -> None:
        """Content when we are let in."""
        await self._call(GetSystemInfoRequest(), GetSystemInfoResponse, seconds)

    async def _call(self, request: Message, kind: type[Answer], seconds: float = CALL_SECONDS) -> Answer:
        name = request.DESCRIPTOR.name.removesuffix("Request")
        method: Any = self._channel.unary_unary(f"{SERVICE}/{name}")
        return kind.FromString(await method(request.SerializeToString(), timeout=seconds, metadata=self._metadata))

    async def dial_anew(self) -> None:
        """As the SDK does: it connects when a call waits for that, and not by itself while it pauses between two calls."""
        await self.close()
        self._channel = _dial(self._card)

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


def _dial(card: Card) -> grpc.aio.Channel:
    if card.ca:
        return grpc.aio.secure_channel(card.address, _trust(card.ca), OPTIONS)
    return grpc.aio.insecure_channel(card.address, OPTIONS)


_trusted: dict[str, grpc.ChannelCredentials] = {}


def _trust(ca: str) -> grpc.ChannelCredentials:
    """Read a CA once: it is the same for all."""
    if ca not in _trusted:
        _trusted[ca] = grpc.ssl_channel_credentials(ca.encode())
    return _trusted[ca]
