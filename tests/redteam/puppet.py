"""The stolen guest made to speak: requests as no SDK would send them, and a loop that answers all of its tasks so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
)
from temporalio.client import ActivityFailureError, ActivityHandle, WorkflowFailureError
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from tests.redteam.field import Field, Got, Thief, ask
from workflows.answers import from_guest
from workflows.codec import ENCODING
from workflows.domain.errors import GuestProtocolError, innermost
from workflows.names import call_id, guest_key_id
from workflows.ports.guest import DatabaseList

Task = PollActivityTaskQueueResponse
Call = ActivityHandle[RawValue]
NO_FAILURE = "no failure"
SOON = 8.0  # seconds; a short call's own timeout is twenty
COMPLETED, FAILED = "RespondActivityTaskCompleted", "RespondActivityTaskFailed"
CANCELED, HEARTBEAT = "RespondActivityTaskCanceled", "RecordActivityTaskHeartbeat"


@dataclass(frozen=True)
class Word:
    """What the thief says of a task: a method, and the bytes of its request."""

    rpc: str
    body: bytes


Making = Callable[[Thief, Task], Awaitable[Word]]


# -- requests ----------------------------------------------------------------------------------------------------------


def completed(task: Task, result: Payloads | None = None) -> Word:
    """An answer."""
    request = RespondActivityTaskCompletedRequest(task_token=task.task_token, result=result, namespace="coffer")
    return Word(COMPLETED, request.SerializeToString())


def failed(task: Task, failure: Failure | bytes, details: Payloads | None = None) -> Word:
    """A failure; as bytes where no library would write it."""
    request = RespondActivityTaskFailedRequest(task_token=task.task_token, last_heartbeat_details=details)
    raw = failure if isinstance(failure, bytes) else failure.SerializeToString()
    return Word(FAILED, request.SerializeToString() + piece(2, raw))


def heartbeat(task: Task, details: Payloads | None) -> Word:
    """A heartbeat."""
    request = RecordActivityTaskHeartbeatRequest(task_token=task.task_token, details=details, namespace="coffer")
    return Word(HEARTBEAT, request.SerializeToString())


def canceled(task: Task, details: Payloads | None) -> Word:
    """The word that a cancel was obeyed."""
    request = RespondActivityTaskCanceledRequest(task_token=task.task_token, details=details, namespace="coffer")
    return Word(CANCELED, request.SerializeToString())


def application(kind: str, **more: Any) -> Failure:
    """A failure in clear, without payloads, as an SDK sends it."""
    info = ApplicationFailureInfo(type=kind, **{"non_retryable": True, **more})
    return Failure(message=f"{kind} of the thief", application_failure_info=info)


# -- protobuf by hand --------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """A number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def piece(number: int, content: bytes, kind: int = 2) -> bytes:
    """A field: of bytes, with their length; of other kinds, as it stands."""
    return varint(number << 3 | kind) + (varint(len(content)) if kind == 2 else b"") + content


def causes(depth: int, bottom: bytes = b"") -> bytes:
    """The content of a failure with so many causes one below the other, made from the inside out."""
    heads: list[bytes] = []
    length = len(bottom)
    for _ in range(depth):
        heads.append(varint(4 << 3 | 2) + varint(length))
        length += len(heads[-1])
    return b"".join([*reversed(heads), bottom])


def groups(depth: int) -> bytes:
    """Unknown groups, one in the other."""
    return piece(900, b"", 3) * depth + piece(900, b"", 4) * depth


# -- seals -------------------------------------------------------------------------------------------------------------


def seal(thief: Thief, inner: Payload, *, named: str | None = None, direction: str = "up") -> Payload:
    """A payload sealed with the stolen key, under any name and direction."""
    own = guest_key_id(thief.instance_id, thief.keyring.current)
    purpose = f"{named or own}/{direction}".encode()
    data = thief.keyring.encrypt(own, inner.SerializeToString(), purpose)
    return Payload(metadata={"encoding": ENCODING, "encryption-key-id": purpose}, data=data)


def json(text: bytes) -> Payload:
    """JSON in clear, for what is to be sealed."""
    return Payload(metadata={"encoding": b"json/plain"}, data=text)


def sealed_json(thief: Thief, text: bytes) -> Payloads:
    """JSON as the stolen guest would send it, whatever it is."""
    return Payloads(payloads=[seal(thief, json(text))])


# -- short calls of the stolen guest -----------------------------------------------------------------------------------


@asynccontextmanager
async def asked(
    thief: Thief, verb: str, *args: Any, attempts: int = 1, seconds: float = 20
) -> AsyncIterator[tuple[Task, Call]]:
    """A short call of the stolen guest's own, taken by the thief; it is ended afterwards."""
    handle: Call = await thief.world.client.start_activity(
        verb,
        args=list(args),
        id=call_id(thief.instance_id, f"req-{uuid4()}"),
        task_queue=thief.queue,
        result_type=RawValue,
        schedule_to_close_timeout=timedelta(seconds=seconds),
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=attempts),
    )
    try:
        task = await thief.poll()
        assert task.activity_id == handle.id, task
        yield task, handle
    finally:
        with suppress(Exception):
            await handle.terminate(reason="the test is over")


async def end_of(thief: Thief, call: Call, shape: type = DatabaseList) -> str:
    """How a short call ended, soon: the type of its failure, or what its caller believes, as the API decodes it."""
    try:
        raw = await asyncio.wait_for(call.result(), SOON)
        return str(from_guest(raw, thief.instance_id, shape))
    except ActivityFailureError as error:
        cause = innermost(error.cause)
        return (cause.type or "?") if isinstance(cause, ApplicationError) else type(cause).__name__
    except GuestProtocolError:
        return "GuestProtocolError"


async def say(thief: Thief, word: Word) -> Got:
    """Send it."""
    return await thief.call(word.rpc, word.body)


async def several(field: Field, cases: Mapping[str, Callable[[], Awaitable[str]]]) -> None:
    """Cases during one operation of the victim's, each with a short call of the victim's, and a line of the table.

    A case returns what the thief got; all of them are tried before those that failed are told.
    """
    got: dict[str, str] = {}
    wrong: dict[str, AssertionError] = {}
    async with field.victim.operating():
        for name, case in cases.items():
            try:
                got[name] = await case()
            except AssertionError as error:
                wrong[name] = error
            await asyncio.wait_for((await ask(field.world, field.victim.instance_id, "get_health")).result(), 20)
    title = field.report.case
    for name, what in got.items():
        field.report.case = f"{title}: {name}"
        field.report.add(what, "restarted, answered, kept its rows")
    assert not wrong, wrong


def refusals(thief: Thief, makings: Mapping[str, Making]) -> dict[str, Callable[[], Awaitable[str]]]:
    """Cases of words that end the stolen guest's own call, soon and as nonsense, though the gateway says OK to them.

    A worker that is told anything else would only log it, and its operation would wait for the timeout.
    """

    async def case(making: Making) -> str:
        async with asked(thief, "list_databases") as (task, call):
            got = await say(thief, await making(thief, task))
            assert got.code is grpc.StatusCode.OK, got
            end = await end_of(thief, call)
            assert end == "GuestProtocolError", end
            return f"its own call: {end}"

    return {name: partial(case, making) for name, making in makings.items()}


def restarts(
    field: Field, thief: Thief, makings: Mapping[str, Making], wanted: str | None = None
) -> dict[str, Callable[[], Awaitable[str]]]:
    """Cases of restarts of the stolen instance, whose steps are answered so; `wanted`: the type of their failure."""

    async def case(making: Making) -> str:
        async with puppet(thief, making):
            end = await restart(field, thief)
        row = field.world.instance(thief.instance_id)
        assert wanted in (None, end), end
        assert row["status"] == "ACTIVE"  # what failed is the operation, not the instance
        assert len(row["fault"] or "") < 2100
        assert field.world.open_operations(thief.instance_id) == 0
        heal(field, thief)
        return f"its own restart: {end}; {(row['fault'] or '')[:40]}"

    return {name: partial(case, making) for name, making in makings.items()}


# -- operations of the stolen guest ------------------------------------------------------------------------------------


@dataclass
class Puppet:
    """What the stolen guest was asked meanwhile, in order, and when."""

    seen: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)


@asynccontextmanager
async def puppet(thief: Thief, making: Making) -> AsyncIterator[Puppet]:
    """All tasks of the stolen guest are answered in the same way, until the end of the block."""
    working = Puppet()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        while True:
            task = await thief.poll(seconds=60)
            if task.task_token:
                working.seen.append(task.activity_type.name)
                working.times.append(loop.time())
                working.got.append(await say(thief, await making(thief, task)))

    running = asyncio.create_task(work())
    try:
        yield working
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await settled(thief)


async def settled(thief: Thief) -> None:
    """Wait until a poll that was hung up is over at Temporal, too: it must not take the next case's task."""
    await asyncio.sleep(0.2)


async def restart(field: Field, thief: Thief) -> str:
    """A restart of the stolen instance, to its end: the type of its failure."""
    run = await field.world.restart(thief.instance_id)
    try:
        end = await asyncio.wait_for(run.result(), 30)
        assert end is None, end  # refused: it was no attack
    except TimeoutError:  # what it keeps, the next case could not have
        await run.terminate("the test is over")
        heal(field, thief)
        raise AssertionError("the operation of the stolen guest has no end") from None
    except WorkflowFailureError as error:
        cause = innermost(error.cause) if isinstance(error.cause, FailureError) else error.cause
        return (cause.type or "?") if isinstance(cause, ApplicationError) else type(cause).__name__
    return NO_FAILURE


def heal(field: Field, thief: Thief) -> None:
    """The records as they were: the next case's operation is admitted."""
    field.world.stack.sql("UPDATE instances SET status = 'ACTIVE', fault_message = NULL WHERE id = %s", thief.instance_id,
                          database=field.world.database)  # fmt: skip


async def honest(thief: Thief, task: Task) -> Word:
    """What an honest guest would say."""
    if task.activity_type.name == "start_datastore":
        return completed(task, sealed_json(thief, b'{"guest_version": "1"}'))
    return completed(task, await thief.sealed(None))


def always(word: Callable[[Task], Word]) -> Making:
    """A way of answering that needs no key."""

    async def making(thief: Thief, task: Task) -> Word:
        return word(task)

    return making


def many(payloads: Iterable[Payload]) -> Payloads:
    """Several in one answer."""
    return Payloads(payloads=payloads)
