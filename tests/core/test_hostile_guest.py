"""A guest that answers nonsense fails its own operation, and nothing else; the worker and other runs go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import Worker

from contract.domain.errors import innermost
from contract.domain.instance import OperatingStatus
from contract.names import guest_queue
from contract.ports.guest import Health
from tests.core.ask_once import AskOnce
from tests.temporal import TemporalServer


def wrong_shape() -> Any:
    return {"operating_status": "PWNED"}


def deep_json() -> Any:
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 30_000 + b"]" * 30_000))


def large() -> Any:
    return {"operating_status": "HEALTHY", "guest_version": "x" * 100_000}


def nothing() -> Any:
    return None


def undecodable_details() -> Any:
    raise ApplicationError("no", RawValue(Payload(metadata={"encoding": b"no/such"}, data=b"?")), non_retryable=True)


def strange_type() -> Any:
    raise ApplicationError("no", type="ContinueAsNewError", non_retryable=True)


def deep_failure() -> Any:
    error: Exception = ValueError("bottom")
    for number in range(20):
        above = ApplicationError(str(number), non_retryable=True)
        above.__cause__ = error
        error = above
    raise error


@pytest.fixture
async def control(temporal: TemporalServer) -> AsyncIterator[Client]:
    client = await temporal.client()
    async with Worker(client, task_queue="core", workflows=[AskOnce]):
        yield client


async def ask(control: Client, temporal: TemporalServer, answer: Callable[[], Any]) -> Any:
    instance_id = uuid4()

    @activity.defn(name="get_health")
    async def get_health() -> Any:
        return answer()

    guest = await temporal.guest_client(instance_id)
    async with Worker(guest, task_queue=guest_queue(instance_id), activities=[get_health]):
        run = control.execute_workflow(AskOnce.run, instance_id, id=f"core/{instance_id}", task_queue="core")
        return await asyncio.wait_for(run, timeout=20)


async def test_an_honest_guest_is_believed(control: Client, temporal: TemporalServer) -> None:
    health = await ask(control, temporal, lambda: Health(operating_status=OperatingStatus.HEALTHY))

    assert health.operating_status == "HEALTHY"


@pytest.mark.parametrize(
    "answer", [wrong_shape, deep_json, large, nothing, undecodable_details, strange_type, deep_failure]
)
async def test_nonsense_fails_its_own_operation(
    control: Client, temporal: TemporalServer, answer: Callable[[], Any]
) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await ask(control, temporal, answer)

    assert isinstance(failed.value.cause, FailureError)
    cause = innermost(failed.value.cause)
    assert isinstance(cause, ApplicationError)
    assert cause.type == "GuestProtocolError"
    assert (
        await ask(control, temporal, lambda: Health(operating_status=OperatingStatus.HEALTHY))
    ).operating_status == "HEALTHY"


async def test_a_clear_answer_is_not_believed(control: Client, temporal: TemporalServer) -> None:
    """A guest without our codec: what it says is not sealed, so anybody might have said it."""
    instance_id = uuid4()

    @activity.defn(name="get_health")
    async def get_health() -> dict[str, str]:
        return {"operating_status": "HEALTHY"}

    plain = await Client.connect(temporal.address, namespace="coffer")
    async with Worker(plain, task_queue=guest_queue(instance_id), activities=[get_health]):
        run = control.execute_workflow(AskOnce.run, instance_id, id=f"core/{instance_id}", task_queue="core")
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(run, timeout=20)

    cause = innermost(failed.value.cause)
    assert isinstance(cause, ApplicationError)
    assert cause.type == "GuestProtocolError"
