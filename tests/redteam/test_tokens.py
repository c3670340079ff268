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

from contract.names import call_id, guest_queue
from contract.ports.guest import DatabaseList
from contract.wire.answers import from_guest
from gateway.tokens import HEAD, MAC_BYTES
from tests.redteam.inside import forged, is_open
from tests.redteam.newcomers import Newcomer
from tests.redteam.scenario import Attacker, Got, Scenario, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMPLETED = "RespondActivityTaskCompleted"
VERBS = [COMPLETED, "RespondActivityTaskFailed", "RespondActivityTaskCanceled", "RecordActivityTaskHeartbeat"]
MAC = slice(HEAD.size, HEAD.size + MAC_BYTES)
RAW = HEAD.size + MAC_BYTES


async def answer(guest: Attacker, token: bytes, verb: str = COMPLETED) -> Got:
    """Say something of a task, sealed as the guest seals."""
    kind = getattr(workflowservice.v1, f"{verb}Request")
    request: Message = kind(task_token=token, namespace="coffer")
    if isinstance(request, RespondActivityTaskCompletedRequest):
        request.result.CopyFrom(await guest.sealed(DatabaseList(databases=("answered",))))
    return await guest.call(verb, request)


async def in_hand(guest: Attacker) -> tuple[bytes, "ActivityHandle[RawValue]"]:
    """A task of a guest's own, that it has taken."""
    handle = await ask(guest.world, guest.instance_id, "list_databases")
    return (await guest.poll()).task_token, handle


async def answered(guest: Attacker, handle: "ActivityHandle[RawValue]") -> tuple[str, ...]:
    """What came of a task."""
    return from_guest(await handle.result(), guest.instance_id, DatabaseList).databases


def flipped(token: bytes, place: int) -> bytes:
    """The token with one bit of a byte turned over."""
    return token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]


async def refuse(attacker: Attacker, *tokens: bytes) -> Got:
    """None of these opens anything."""
    for each in tokens:
        got = await answer(attacker, each)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED, each[:60]
    return got


# -- of others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
async def test_another_guests_task(scenario: Scenario, attacker: Attacker, other: Attacker, verb: str) -> None:
    """The attacker has the very token that the gateway gave to the other; the other's answer is the one that counts."""
    async with scenario.attack() as outcome:
        token, handle = await in_hand(other)
        got = await answer(attacker, token, verb)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        await answer(other, token)
        assert await answered(other, handle) == ("answered",)
        outcome.got = str(got)


async def test_another_guests_unwrapped_task(scenario: Scenario, attacker: Attacker, other: Attacker) -> None:
    async with scenario.attack() as outcome:
        token, handle = await in_hand(other)
        got = await refuse(attacker, token[RAW:])
        assert await is_open(handle)
        outcome.got = str(got)


async def test_another_guests_task_behind_ones_own_seal(
    scenario: Scenario, attacker: Attacker, other: Attacker
) -> None:
    """Head and HMAC of the attacker's own token before the other's."""
    async with scenario.attack() as outcome, attacker.task() as (task, _):
        token, handle = await in_hand(other)
        got = await refuse(attacker, task.task_token[:RAW] + token[RAW:], token[:RAW] + task.task_token[RAW:])
        assert await is_open(handle)
        outcome.got = str(got)


async def test_a_forged_token_of_the_victims_step(scenario: Scenario, attacker: Attacker) -> None:
    """Made of what is no secret, it is good at Temporal itself: a heartbeat shows it. The step is the operation's own."""
    async with scenario.attack() as outcome:
        token = await forged(scenario.world, scenario.victim.instance_id)
        heartbeat = RecordActivityTaskHeartbeatRequest(namespace="coffer", task_token=token)
        await scenario.world.client.workflow_service.record_activity_task_heartbeat(heartbeat)
        for each in VERBS:
            got = await answer(attacker, token, each)
            assert got.code is grpc.StatusCode.PERMISSION_DENIED, each
        outcome.got = str(got)


async def test_a_forged_token_behind_a_guessed_seal(scenario: Scenario, attacker: Attacker) -> None:
    """The keys that a guest has are no keys of task tokens."""
    async with scenario.attack() as outcome:
        token, epoch = await forged(scenario.world, scenario.victim.instance_id), attacker.keyring.current
        head = HEAD.pack(1, epoch)
        own = attacker.keyring.mac(
            f"i:{attacker.instance_id}:{epoch}", head + f"{attacker.instance_id}/1/".encode() + token
        )
        got = await refuse(attacker, head + own + token, head + bytes(MAC_BYTES) + token)
        outcome.got = str(got)


async def test_two_tokens_in_one_answer(scenario: Scenario, attacker: Attacker, other: Attacker) -> None:
    """Of a field that comes twice the last counts, for the gateway's check as for what is passed on."""
    async with scenario.attack() as outcome, attacker.task() as (task, _):
        token, handle = await in_hand(other)
        own, others = (RespondActivityTaskCompletedRequest(task_token=each).SerializeToString()
                       for each in (task.task_token, token))  # fmt: skip
        got = await attacker.call(COMPLETED, own + others)
        assert got.code is grpc.StatusCode.PERMISSION_DENIED
        await attacker.call(COMPLETED, others + own)
        assert await is_open(handle)
        outcome.got = str(got)


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
async def test_ones_own_token_bent(
    scenario: Scenario, attacker: Attacker, bend: Callable[[bytes], list[bytes]]
) -> None:
    async with scenario.attack() as outcome, attacker.task() as (task, handle):
        got = await refuse(attacker, *bend(task.task_token))
        assert await is_open(handle)
        outcome.got = str(got)


async def test_an_answer_that_cannot_be_read(scenario: Scenario, attacker: Attacker) -> None:
    """Groups, endless numbers and lengths beyond the end, where the token should be."""
    async with scenario.attack() as outcome:
        for each in (b"\x0b\x0b\x0b", b"\x0a\xff", b"\x0a" + b"\xff" * 11, b"\x0a\x7fshort", b"\x02\x00"):
            got = await attacker.call(COMPLETED, each)
            assert got.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED), each
        outcome.got = str(got)


# -- of yesterday ----------------------------------------------------------------------------------------------------


async def test_a_token_after_its_task_is_done(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome, attacker.task() as (task, handle):
        assert (await answer(attacker, task.task_token)).code is grpc.StatusCode.OK
        got = await answer(attacker, task.task_token, "RespondActivityTaskFailed")
        assert got.code is grpc.StatusCode.NOT_FOUND
        assert await answered(attacker, handle) == ("answered",)
        outcome.got = str(got)


async def test_a_token_of_an_earlier_attempt(scenario: Scenario, attacker: Attacker) -> None:
    """The attempt has failed and the next is in somebody's hand: it alone may answer."""
    async with scenario.attack() as outcome:
        handle = await retried(attacker)
        first = await attacker.poll()
        await attacker.call("RespondActivityTaskFailed", failed(first))
        second = await attacker.poll()
        got = await answer(attacker, first.task_token)
        assert got.code is grpc.StatusCode.NOT_FOUND
        await answer(attacker, second.task_token)
        assert (second.attempt, await answered(attacker, handle)) == (2, ("answered",))
        outcome.got = str(got)


def failed(task: PollActivityTaskQueueResponse) -> RespondActivityTaskFailedRequest:
    """A failure that is tried again."""
    failure = Failure(message="again", application_failure_info=ApplicationFailureInfo(type="NotYet"))
    return RespondActivityTaskFailedRequest(task_token=task.task_token, namespace="coffer", failure=failure)


async def retried(guest: Attacker) -> "ActivityHandle[RawValue]":
    """A short call that is tried again."""
    return await guest.world.client.start_activity(
        "list_databases", id=call_id(guest.instance_id, f"req-{uuid4()}"), task_queue=guest_queue(guest.instance_id),
        result_type=RawValue, schedule_to_close_timeout=timedelta(seconds=20),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2),
    )  # fmt: skip


async def test_a_token_of_a_task_that_was_ended(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome, attacker.task() as (task, handle):
        await handle.terminate()
        got = await answer(attacker, task.task_token)
        assert got.code is grpc.StatusCode.NOT_FOUND
        outcome.got = str(got)


async def test_a_task_goes_on_when_its_guest_has_changed_its_token(
    scenario: Scenario, newcomer: Newcomer, other: Attacker
) -> None:
    """No attack: a guest that is honest must not lose its work by being careful."""
    async with scenario.attack() as outcome:
        token, handle = await in_hand(other)
        await newcomer.renew(other)
        await answer(other, token)
        assert await answered(other, handle) == ("answered",)
        outcome.got = "the answer to its own task"


async def test_a_task_of_an_older_generation(scenario: Scenario, newcomer: Newcomer, other: Attacker) -> None:
    """The server was rebuilt: neither its old guest nor the new one answers what the old one took."""
    async with scenario.attack() as outcome:
        token, handle = await in_hand(other)
        await newcomer.build()
        newer = await newcomer.enrol()
        got = await refuse(newer, token)
        assert (await answer(other, token)).code is grpc.StatusCode.UNAUTHENTICATED
        assert await is_open(handle)
        await handle.terminate()
        outcome.got = str(got)
