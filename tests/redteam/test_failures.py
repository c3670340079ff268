"""Failures that stop whoever decodes them, or that ask for more patience than anybody has."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ApplicationErrorCategory, TimeoutType
from temporalio.api.failure.v1 import (
    ActivityFailureInfo,
    CanceledFailureInfo,
    ChildWorkflowExecutionFailureInfo,
    Failure,
    NexusHandlerFailureInfo,
    NexusOperationFailureInfo,
    ResetWorkflowFailureInfo,
    ServerFailureInfo,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
)

from tests.redteam.raw_requests import (
    RawRequest,
    Task,
    application,
    causes,
    failed,
    groups,
    json,
    many,
    piece,
    seal,
    sealed_json,
)
from tests.redteam.scenario import Attacker, Scenario, clear
from tests.redteam.stolen_calls import (
    NO_FAILURE,
    Making,
    always,
    asked,
    end_of,
    heal,
    honest,
    once_well,
    refusals,
    restart,
    restarts,
    say,
    several,
    stolen_worker,
)
from workflows.steps import GUEST_ERRORS

pytestmark = pytest.mark.asyncio(loop_scope="session")
TOP = application("EngineFailed").SerializeToString()
TEN_YEARS = Duration(seconds=10 * 365 * 86_400)


def deep(depth: int) -> bytes:
    """A failure with so many causes, one below the other."""
    return TOP + causes(depth)


def twice(first: bytes, second: bytes) -> Making:
    """A request of two failures, which decoders merge."""

    def raw(task: Task) -> RawRequest:
        one = failed(task, first)
        return RawRequest(one.rpc, one.body + piece(2, second))

    return always(raw)


async def attributes_in_clear(attacker: Attacker, task: Task) -> RawRequest:
    failure = application("EngineFailed")
    failure.encoded_attributes.CopyFrom(clear(b'{"message": "clear"}').payloads[0])
    return failed(task, failure)


async def details_in_clear_of_a_cause(attacker: Attacker, task: Task) -> RawRequest:
    failure = application("EngineFailed")
    failure.cause.CopyFrom(application("Other"))
    failure.cause.application_failure_info.details.CopyFrom(clear())
    return failed(task, failure)


def kind(**info: object) -> Making:
    """A failure of another kind than a guest can have."""
    return always(lambda task: failed(task, Failure(message="of the attacker", **info)))  # type: ignore[arg-type]


REFUSED: dict[str, dict[str, Making]] = {
    "causes": {
        **{
            f"{depth} causes": always(lambda task, depth=depth: failed(task, deep(depth)))  # type: ignore[misc]
            for depth in (9, 94, 95, 96, 150, 5_000, 30_000, 50_000)
        },
        "a deep cause and then a flat one": always(lambda task: failed(task, TOP + causes(95) + causes(1))),
        "a flat cause and then a deep one": always(lambda task: failed(task, TOP + causes(1) + causes(95))),
        "a deep cause beside many": always(lambda task: failed(task, TOP + causes(1) * 2000 + causes(12))),
        "a deep failure and then a flat one": twice(deep(95), TOP),
        "a cause of garbage": always(lambda task: failed(task, TOP + piece(4, b"\xff" * 30))),
        "groups in a cause": always(lambda task: failed(task, TOP + piece(4, groups(100)))),
    },
    "what is in them": {
        "text that is no text": always(lambda task: failed(task, TOP + piece(1, b"\xff\xfe"))),
        "attributes in clear": attributes_in_clear,
        "details in clear": always(lambda task: failed(task, application("EngineFailed", details=clear()))),
        "details in clear of a cause": details_in_clear_of_a_cause,
        "a message of 80 kB": always(lambda task: failed(task, Failure(message="m" * 80_000))),
    },
    "kinds": {
        "no kind at all": kind(),
        "nothing at all": always(lambda task: RawRequest("RespondActivityTaskFailed", piece(1, task.task_token))),
        "a cancel": kind(canceled_failure_info=CanceledFailureInfo()),
        "a timeout": kind(timeout_failure_info=TimeoutFailureInfo(timeout_type=TimeoutType.TIMEOUT_TYPE_HEARTBEAT)),
        "a termination": kind(terminated_failure_info=TerminatedFailureInfo()),
        "a failure of the server": kind(server_failure_info=ServerFailureInfo(non_retryable=False)),
        "a reset": kind(reset_workflow_failure_info=ResetWorkflowFailureInfo()),
        "another activity": kind(activity_failure_info=ActivityFailureInfo(scheduled_event_id=5)),
        "a child workflow": kind(child_workflow_execution_failure_info=ChildWorkflowExecutionFailureInfo()),
        "an operation of Nexus": kind(nexus_operation_execution_failure_info=NexusOperationFailureInfo()),
        "a handler of Nexus": kind(nexus_handler_failure_info=NexusHandlerFailureInfo(type="INTERNAL")),
    },
}


@pytest.mark.parametrize("group", REFUSED)
async def test_failing_with(scenario: Scenario, attacker: Attacker, group: str) -> None:
    """Nothing of it reaches a worker of the control plane: its operation hears that the guest spoke nonsense."""
    await several(scenario, refusals(attacker, REFUSED[group]))


async def test_stopping_workers_of_the_control_plane_with(scenario: Scenario, attacker: Attacker) -> None:
    """Such a failure in a history stops each worker that reads it, one after the other; none comes so far."""
    chosen = {
        name: REFUSED["causes"][name] for name in ("95 causes", "96 causes", "150 causes", "a deep cause beside many")
    }
    await several(scenario, restarts(scenario, attacker, chosen, "GuestProtocolError"))


def _long(name: str) -> Failure:
    failure = application("EngineFailed")
    setattr(failure, name, "m" * 65_000)
    return failure


async def undecodable_details(attacker: Attacker, task: Task) -> RawRequest:
    return failed(task, application("EngineFailed", details=sealed_json(attacker, b"[" * 20_000)))


async def details_of_another_encoding(attacker: Attacker, task: Task) -> RawRequest:
    strange = seal(attacker, Payload(metadata={"encoding": b"no/such"}, data=b"?"))
    return failed(task, application("EngineFailed", details=many([strange])))


def attributes(text: bytes) -> Making:
    """Attributes sealed as an honest guest's, with this in them."""

    async def making(attacker: Attacker, task: Task) -> RawRequest:
        failure = application("EngineFailed")
        failure.encoded_attributes.CopyFrom(seal(attacker, json(text)))
        return failed(task, failure)

    return making


def below(cause: Failure) -> Making:
    """A failure of a guest's own kind, caused by another."""
    failure = application("ValueError")
    failure.cause.CopyFrom(cause)
    return always(lambda task: failed(task, failure))


FORWARDED: dict[str, Making] = {
    "8 causes": always(lambda task: failed(task, deep(8))),
    "a message of 64 kB": always(lambda task: failed(task, _long("message"))),
    "a stack trace of 64 kB": always(lambda task: failed(task, _long("stack_trace"))),
    "details that nest too deep": undecodable_details,
    "details of another encoding": details_of_another_encoding,
    "attributes that nest too deep": attributes(b"[" * 20_000),
    "attributes of another shape": attributes(b'{"message": [1], "stack_trace": {}}'),
    "attributes with half a letter": attributes(b'{"message": "\\ud800"}'),
    "attributes with a zero": attributes(b'{"message": "a\\u0000b"}'),
    "the name ContinueAsNewError": always(lambda task: failed(task, application("ContinueAsNewError"))),
    "the name CancelledError": always(lambda task: failed(task, application("CancelledError"))),
    "a timeout as the cause": below(
        Failure(timeout_failure_info=TimeoutFailureInfo(timeout_type=TimeoutType.TIMEOUT_TYPE_HEARTBEAT))
    ),
    "a termination as the cause": below(Failure(terminated_failure_info=TerminatedFailureInfo())),
    "a Nexus handler as the cause": below(Failure(nexus_handler_failure_info=NexusHandlerFailureInfo(type="INTERNAL"))),
}


async def test_failing_a_step_with(scenario: Scenario, attacker: Attacker) -> None:
    """The gateway lets it pass; the runbook of the stolen instance bears it, and ends as failed."""
    await several(scenario, restarts(scenario, attacker, FORWARDED))


async def in_ten_years(attacker: Attacker, task: Task) -> RawRequest:
    if task.attempt > 1:
        return await honest(attacker, task)
    category = ApplicationErrorCategory.APPLICATION_ERROR_CATEGORY_BENIGN
    return failed(task, application("EngineFailed", non_retryable=False, next_retry_delay=TEN_YEARS, category=category))


async def test_asking_to_be_tried_again_in_ten_years(scenario: Scenario, attacker: Attacker) -> None:
    """How soon a step is tried again is the runbook's to say: else its operation, and its lock, would stand for ever."""
    async with scenario.attack() as outcome, stolen_worker(attacker, once_well(in_ten_years)) as working:
        end = await restart(scenario, attacker)
        assert end == NO_FAILURE
        assert working.seen == ["get_health"] + ["stop_datastore"] * 2 + ["start_datastore"] * 2
        outcome.got = f"its own restart: {end}; tried again after {working.times[2] - working.times[1]:.1f} s"


async def test_failing_as_often_as_it_is_asked(scenario: Scenario, attacker: Attacker) -> None:
    """So often as the API asks, and no more."""
    again = always(lambda task: failed(task, application("EngineFailed", non_retryable=False)))
    async with scenario.attack() as outcome, asked(attacker, "list_databases", attempts=3) as (task, call):
        await say(attacker, await again(attacker, task))
        async with stolen_worker(attacker, again) as working:
            end = await end_of(attacker, call)
        outcome.got = f"its own call: {end} after {1 + len(working.seen)} attempts"
        assert (end, len(working.seen)) == ("EngineFailed", 2)


async def test_the_sdks_own_words_in_clear(scenario: Scenario, attacker: Attacker) -> None:
    """What an honest SDK says without sealing it has no payload: it must pass."""
    async with scenario.attack() as outcome, asked(attacker, "list_databases") as (task, call):
        got = await say(attacker, failed(task, application("WorkerShutdown")))
        assert got.code is grpc.StatusCode.OK
        outcome.got = f"its own call: {await end_of(attacker, call)}"
        assert outcome.got.endswith("WorkerShutdown")


def named(*names: str) -> dict[str, Making]:
    """Failures with these names."""
    return {name: always(lambda task, name=name: failed(task, application(name))) for name in names}  # type: ignore[misc]


async def test_failing_a_step_in_the_name_of(scenario: Scenario, attacker: Attacker) -> None:
    """Errors of ours that are not a guest's to raise count as nonsense; the fence is the records' alone."""
    names = ("QuotaExceeded", "Refused", "TicketRefused", "ResourceFailed", "FenceLost", "GuestProtocolError")
    await several(scenario, restarts(scenario, attacker, named(*names), "GuestProtocolError"))


async def test_failing_a_step_as_guests_may(scenario: Scenario, attacker: Attacker) -> None:
    """Whatever it is called, the operation has failed, and was not refused: it was admitted."""
    makings = named(*sorted(GUEST_ERRORS - {"FenceLost"}))
    cases = {
        name: case
        for name, making in makings.items()
        for case in restarts(scenario, attacker, {name: making}, name).values()
    }
    await several(scenario, cases)


async def test_claiming_that_the_fence_is_lost(scenario: Scenario, attacker: Attacker) -> None:
    """Only the records are believed in that: the run ends as failed, and closes its operation."""
    async with scenario.attack() as outcome:
        async with stolen_worker(attacker, once_well(always(lambda task: failed(task, application("FenceLost"))))):
            end = await restart(scenario, attacker)
        assert end == "GuestProtocolError"
        assert scenario.world.open_operations(attacker.instance_id) == 0
        await heal(scenario, attacker)
        async with stolen_worker(attacker, honest):
            again = await restart(scenario, attacker)
        outcome.got = f"its own restart: {end}; the next one: {again}"
        assert again == NO_FAILURE
        assert scenario.world.open_operations(attacker.instance_id) == 0
