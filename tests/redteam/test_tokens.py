"""Task tokens: Temporal's own are unsigned, so whoever holds, guesses or bends one would answer for another."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from temporalio.api import workflowservice
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
)
from temporalio.client import ActivityHandle
from temporalio.common import RawValue, RetryPolicy

from gateway.tokens import HEAD, MAC_BYTES
from tests.redteam.field import Field, Got, Thief, ask
from tests.redteam.inside import forged, is_open
from tests.redteam.newcomers import Newcomer
from workflows.answers import from_guest
from workflows.names import call_id, guest_queue
from workflows.ports.guest import DatabaseList

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMPLETED = "RespondActivityTaskCompleted"
VERBS = [COMPLETED, "RespondActivityTaskFailed", "RespondActivityTaskCanceled", "RecordActivityTaskHeartbeat"]
MAC = slice(HEAD.size, HEAD.size + MAC_BYTES)
RAW = HEAD.size + MAC_BYTES


async def answer(guest: Thief, token: bytes, verb: str = COMPLETED) -> Got:
    """Say something of a task, sealed as the guest seals."""
    kind = getattr(workflowservice.v1, f"{verb}Request")
    request: Message = kind(task_token=token, namespace="coffer")
    if isinstance(request, RespondActivityTaskCompletedRequest):
        request.result.CopyFrom(await guest.sealed(DatabaseList(databases=("answered",))))
    return await guest.call(verb, request)


async def in_hand(guest: Thief) -> tuple[bytes, "ActivityHandle[RawValue]"]:
    """A task of a guest's own, that it has taken."""
    handle = await ask(guest.world, guest.instance_id, "list_databases")
    return (await guest.poll()).task_token, handle


async def answered(guest: Thief, handle: "ActivityHandle[RawValue]") -> tuple[str, ...]:
    """What came of a task."""
    return from_guest(await handle.result(), guest.instance_id, DatabaseList).databases


def flipped(token: bytes, place: int) -> bytes:
    """The token with one bit of a byte turned over."""
    return token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]


async def refuse(thief: Thief, *tokens: bytes) -> Got:
    """None of these opens anything."""
    for each in tokens:
        got = await answer(thief, each)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED, each[:60]
    return got


# -- of others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
async def test_another_guests_task(field: Field, thief: Thief, other: Thief, verb: str) -> None:
    """The thief has the very token that the gateway gave to the other; the other's answer is the one that counts."""
    async with field.attack() as loot:
        token, handle = await in_hand(other)
        got = await answer(thief, token, verb)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        await answer(other, token)
        assert await answered(other, handle) == ("answered",)
        loot.got = str(got)


async def test_another_guests_unwrapped_task(field: Field, thief: Thief, other: Thief) -> None:
    async with field.attack() as loot:
        token, handle = await in_hand(other)
        got = await refuse(thief, token[RAW:])
        assert await is_open(handle)
        loot.got = str(got)


async def test_another_guests_task_behind_ones_own_seal(field: Field, thief: Thief, other: Thief) -> None:
    """Head and HMAC of the thief's own token before the other's."""
    async with field.attack() as loot, thief.task() as (task, _):
        token, handle = await in_hand(other)
        got = await refuse(thief, task.task_token[:RAW] + token[RAW:], token[:RAW] + task.task_token[RAW:])
        assert await is_open(handle)
        loot.got = str(got)


async def test_a_forged_token_of_the_victims_step(field: Field, thief: Thief) -> None:
    """Made of what is no secret, it is good at Temporal itself: a heartbeat shows it. The step is the operation's own."""
    async with field.attack() as loot:
        token = await forged(field.world, field.victim.instance_id)
        heartbeat = RecordActivityTaskHeartbeatRequest(namespace="coffer", task_token=token)
        await field.world.client.workflow_service.record_activity_task_heartbeat(heartbeat)
        for each in VERBS:
            got = await answer(thief, token, each)
            assert got.code is grpc.StatusCode.PERMISSION_DENIED, each
        loot.got = str(got)


async def test_a_forged_token_behind_a_guessed_seal(field: Field, thief: Thief) -> None:
    """The keys that a guest has are no keys of task tokens."""
    async with field.attack() as loot:
        token, epoch = await forged(field.world, field.victim.instance_id), thief.keyring.current
        head = HEAD.pack(1, epoch)
        own = thief.keyring.mac(f"i:{thief.instance_id}:{epoch}", head + f"{thief.instance_id}/1/".encode() + token)
        got = await refuse(thief, head + own + token, head + bytes(MAC_BYTES) + token)
        loot.got = str(got)


async def test_two_tokens_in_one_answer(field: Field, thief: Thief, other: Thief) -> None:
    """Of a field that comes twice the last counts, for the gateway's check as for what is passed on."""
    async with field.attack() as loot, thief.task() as (task, _):
        token, handle = await in_hand(other)
        own, others = (RespondActivityTaskCompletedRequest(task_token=each).SerializeToString()
                       for each in (task.task_token, token))  # fmt: skip
        got = await thief.call(COMPLETED, own + others)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        await thief.call(COMPLETED, others + own)
        assert await is_open(handle)
        loot.got = str(got)


# -- bent ------------------------------------------------------------------------------------------------------------

BENT: dict[str, Callable[[bytes], list[bytes]]] = {
    "unwrapped": lambda token: [token[RAW:]],
    "of another version": lambda token: [HEAD.pack(each, 1) + token[HEAD.size :] for each in (0, 2, 255)],
    "of another epoch": lambda token: [HEAD.pack(1, each) + token[HEAD.size :] for each in (0, 2, 10**9, 2**32 - 1)],
    "with bits turned over": lambda token: [flipped(token, place) for place in range(0, len(token), 7)],
    "cut off or empty": lambda token: [
        *(token[:length] for length in (0, 1, 4, 5, 20, RAW - 1, RAW, RAW + 1, len(token) - 1)),
        *(bytes(RAW), bytes(RAW + 1), token[: HEAD.size] + bytes(RAW)),
    ],
    "with more behind it": lambda token: [token + each for each in (b"\0", token, b"\x2a\x01\x02", bytes(60_000))],
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT)
async def test_ones_own_token_bent(field: Field, thief: Thief, bend: Callable[[bytes], list[bytes]]) -> None:
    async with field.attack() as loot, thief.task() as (task, handle):
        got = await refuse(thief, *bend(task.task_token))
        assert await is_open(handle)
        loot.got = str(got)


async def test_an_answer_that_cannot_be_read(field: Field, thief: Thief) -> None:
    """Groups, endless numbers and lengths beyond the end, where the token should be."""
    async with field.attack() as loot:
        for each in (b"\x0b\x0b\x0b", b"\x0a\xff", b"\x0a" + b"\xff" * 11, b"\x0a\x7fshort", b"\x02\x00"):
            got = await thief.call(COMPLETED, each)
            assert got.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED), each
        loot.got = str(got)


# -- of yesterday ----------------------------------------------------------------------------------------------------


async def test_a_token_after_its_task_is_done(field: Field, thief: Thief) -> None:
    async with field.attack() as loot, thief.task() as (task, handle):
        assert (await answer(thief, task.task_token)).code is grpc.StatusCode.OK
        got = await answer(thief, task.task_token, "RespondActivityTaskFailed")
        assert got.code is grpc.StatusCode.NOT_FOUND
        assert await answered(thief, handle) == ("answered",)
        loot.got = str(got)


async def test_a_token_of_an_earlier_attempt(field: Field, thief: Thief) -> None:
    """The attempt has failed and the next is in somebody's hand: it alone may answer."""
    async with field.attack() as loot:
        handle = await retried(thief)
        first = await thief.poll()
        await thief.call("RespondActivityTaskFailed", failed(first))
        second = await thief.poll()
        got = await answer(thief, first.task_token)
        assert got.code is grpc.StatusCode.NOT_FOUND
        await answer(thief, second.task_token)
        assert (second.attempt, await answered(thief, handle)) == (2, ("answered",))
        loot.got = str(got)


def failed(task: PollActivityTaskQueueResponse) -> RespondActivityTaskFailedRequest:
    """A failure that is tried again."""
    failure = Failure(message="again", application_failure_info=ApplicationFailureInfo(type="NotYet"))
    return RespondActivityTaskFailedRequest(task_token=task.task_token, namespace="coffer", failure=failure)


async def retried(guest: Thief) -> "ActivityHandle[RawValue]":
    """A short call that is tried again."""
    return await guest.world.client.start_activity(
        "list_databases", id=call_id(guest.instance_id, f"req-{uuid4()}"), task_queue=guest_queue(guest.instance_id),
        result_type=RawValue, schedule_to_close_timeout=timedelta(seconds=20),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2),
    )  # fmt: skip


async def test_a_token_of_a_task_that_was_ended(field: Field, thief: Thief) -> None:
    async with field.attack() as loot, thief.task() as (task, handle):
        await handle.terminate()
        got = await answer(thief, task.task_token)
        assert got.code is grpc.StatusCode.NOT_FOUND
        loot.got = str(got)


async def test_a_task_goes_on_when_its_guest_has_changed_its_token(
    field: Field, newcomer: Newcomer, other: Thief
) -> None:
    """No attack: a guest that is honest must not lose its work by being careful."""
    async with field.attack() as loot:
        token, handle = await in_hand(other)
        await newcomer.renew(other)
        await answer(other, token)
        assert await answered(other, handle) == ("answered",)
        loot.got = "the answer to its own task"


async def test_a_task_of_an_older_generation(field: Field, newcomer: Newcomer, other: Thief) -> None:
    """The server was built anew: neither its old guest nor the new one answers what the old one took."""
    async with field.attack() as loot:
        token, handle = await in_hand(other)
        await newcomer.build()
        newer = await newcomer.enrol()
        got = await refuse(newer, token)
        assert (await answer(other, token)).code is grpc.StatusCode.UNAUTHENTICATED
        assert await is_open(handle)
        await handle.terminate()
        loot.got = str(got)
