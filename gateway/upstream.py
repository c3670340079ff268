"""Temporal's frontend, as the gateway calls it: many guests over few connections."""

import asyncio
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from contract.settings import TemporalSettings
from gateway.denied import Denied, away
from gateway.limits import GuestUsage

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService"
OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 2**20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
)
# What a guest is told as it is. Anything else says something of the gateway, and must not end a worker: UNAVAILABLE.
TOLD = {
    grpc.StatusCode.NOT_FOUND: "the task is over",
    grpc.StatusCode.INVALID_ARGUMENT: "Temporal does not take this answer",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "Temporal is busy",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time",
}
TOLD_POLLS = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Upstream:
    """Makes calls in the name of guests."""

    def __init__(self, settings: TemporalSettings) -> None:
        self.namespace = settings.temporal_namespace
        self._metadata = (("temporal-namespace", self.namespace),)
        self._channel = _channel(settings)

    async def call(self, rpc: str, request: Message, seconds: float) -> bytes:
        """Make a short call; denied with what its guest may know."""
        try:
            return await self._start(rpc, request, seconds)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, tuple(TOLD)) from None

    async def poll(self, rpc: str, request: Message, seconds: float, usage: GuestUsage) -> bytes:
        """Make a long call that ends with its guest's, or when the account is cut."""
        call = self._start(rpc, request, seconds)
        usage.upstream.add(call)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise _translated(error, TOLD_POLLS) from None
        except asyncio.CancelledError:
            if call.cancelled() and not _is_cancelled():
                raise away("the poll was ended") from None
            call.cancel()  # a task that came now would be nobody's until its timeout
            raise
        finally:
            usage.upstream.discard(call)

    def _start(self, rpc: str, request: Message, seconds: float) -> "grpc.aio.UnaryUnaryCall[bytes, bytes]":
        method: Any = self._channel.unary_unary(f"{SERVICE}/{rpc}")
        call: grpc.aio.UnaryUnaryCall[bytes, bytes] = method(
            request.SerializeToString(), timeout=seconds, metadata=self._metadata
        )
        return call

    async def close(self) -> None:
        """End all connections."""
        await self._channel.close()


def _is_cancelled() -> bool:
    """Whether it is this task that is being cancelled, and not just the call it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _translated(error: grpc.aio.AioRpcError, told: tuple[grpc.StatusCode, ...]) -> Denied:
    code = error.code()
    return Denied(code, TOLD[code]) if code in told else away("Temporal does not answer")


def _channel(settings: TemporalSettings) -> grpc.aio.Channel:
    if settings.temporal_tls_ca is None:
        return grpc.aio.insecure_channel(settings.temporal_address, OPTIONS)
    cert, key = settings.temporal_tls_cert, settings.temporal_tls_key
    trust = grpc.ssl_channel_credentials(
        settings.temporal_tls_ca.read_bytes(),
        key.read_bytes() if key else None,
        cert.read_bytes() if cert else None,
    )
    return grpc.aio.secure_channel(settings.temporal_address, trust, OPTIONS)
