"""The stolen guest made to speak: its own calls and operations answered with whatever words a case has."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
from temporalio.client import ActivityFailureError, ActivityHandle, WorkflowFailureError
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from contract.domain.errors import GuestProtocolError, innermost
from contract.names import call_id
from contract.ports.guest import DatabaseList
from contract.wire.answers import from_guest
from tests.redteam.raw_requests import RawRequest, Task, completed, sealed_json
from tests.redteam.scenario import Attacker, Got, Scenario, ask

Call = ActivityHandle[RawValue]
NO_FAILURE = "no failure"
SOON = 8.0  # seconds; a short call's own timeout is twenty
Making = Callable[[Attacker, Task], Awaitable[RawRequest]]


# -- short calls of the stolen guest -----------------------------------------------------------------------------------


@asynccontextmanager
async def asked(
    attacker: Attacker, verb: str, *args: Any, attempts: int = 1, seconds: float = 20
) -> AsyncIterator[tuple[Task, Call]]:
    """A short call of the stolen guest's own, taken by the attacker; it is ended afterwards."""
    handle: Call = await attacker.world.client.start_activity(
        verb,
        args=list(args),
        id=call_id(attacker.instance_id, f"req-{uuid4()}"),
        task_queue=attacker.queue,
        result_type=RawValue,
        schedule_to_close_timeout=timedelta(seconds=seconds),
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=attempts),
    )
    try:
        task = await attacker.poll()
        assert task.activity_id == handle.id, task
        yield task, handle
    finally:
        with suppress(Exception):
            await handle.terminate(reason="the test is over")


async def end_of(attacker: Attacker, call: Call, shape: type = DatabaseList) -> str:
    """How a short call ended, soon: the type of its failure, or what its caller believes, as the API decodes it."""
    try:
        raw = await asyncio.wait_for(call.result(), SOON)
        return str(from_guest(raw, attacker.instance_id, shape))
    except ActivityFailureError as error:
        cause = innermost(error.cause)
        return (cause.type or "?") if isinstance(cause, ApplicationError) else type(cause).__name__
    except GuestProtocolError:
        return "GuestProtocolError"


async def say(attacker: Attacker, raw: RawRequest) -> Got:
    """Send it."""
    return await attacker.call(raw.rpc, raw.body)


async def several(scenario: Scenario, cases: Mapping[str, Callable[[], Awaitable[str]]]) -> None:
    """Cases during one operation of the victim's, each with a short call of the victim's, and a line of the table.

    A case returns what the attacker got; all of them are tried before those that failed are told.
    """
    got: dict[str, str] = {}
    wrong: dict[str, AssertionError] = {}
    async with scenario.victim.operating():
        for name, case in cases.items():
            try:
                got[name] = await case()
            except AssertionError as error:
                wrong[name] = error
            await asyncio.wait_for((await ask(scenario.world, scenario.victim.instance_id, "get_health")).result(), 20)
    title = scenario.report.case
    for name, what in got.items():
        scenario.report.case = f"{title}: {name}"
        scenario.report.add(what, "restarted, answered, kept its rows")
    assert not wrong, wrong


def refusals(attacker: Attacker, makings: Mapping[str, Making]) -> dict[str, Callable[[], Awaitable[str]]]:
    """Cases of words that end the stolen guest's own call, soon and as nonsense, though the gateway says OK to them.

    A worker that is told anything else would only log it, and its operation would wait for the timeout.
    """

    async def case(making: Making) -> str:
        async with asked(attacker, "list_databases") as (task, call):
            got = await say(attacker, await making(attacker, task))
            assert got.code is grpc.StatusCode.OK, got
            end = await end_of(attacker, call)
            assert end == "GuestProtocolError", end
            return f"its own call: {end}"

    return {name: partial(case, making) for name, making in makings.items()}


def restarts(
    scenario: Scenario, attacker: Attacker, makings: Mapping[str, Making], wanted: str | None = None
) -> dict[str, Callable[[], Awaitable[str]]]:
    """Cases of restarts of the stolen instance, whose steps are answered so; `wanted`: the type of their failure."""

    async def case(making: Making) -> str:
        async with stolen_worker(attacker, once_well(making)):
            end = await restart(scenario, attacker)
        row = scenario.world.instance(attacker.instance_id)
        assert wanted in (None, end), end
        assert row["status"] == "ACTIVE"  # what failed is the operation, not the instance
        assert len(row["fault"] or "") < 2100
        assert scenario.world.open_operations(attacker.instance_id) == 0
        await heal(scenario, attacker)
        return f"its own restart: {end}; {(row['fault'] or '')[:40]}"

    return {name: partial(case, making) for name, making in makings.items()}


# -- operations of the stolen guest ------------------------------------------------------------------------------------


@dataclass
class StolenWorker:
    """What the stolen guest was asked meanwhile, in order, and when."""

    seen: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)


@asynccontextmanager
async def stolen_worker(attacker: Attacker, making: Making) -> AsyncIterator[StolenWorker]:
    """All tasks of the stolen guest are answered in the same way, until the end of the block."""
    working = StolenWorker()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        while True:
            task = await attacker.poll(seconds=60)
            if task.task_token:
                working.seen.append(task.activity_type.name)
                working.times.append(loop.time())
                working.got.append(await say(attacker, await making(attacker, task)))

    running = asyncio.create_task(work())
    try:
        yield working
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await settled(attacker)


async def settled(attacker: Attacker) -> None:
    """Wait until a poll that was hung up is over at Temporal, too: it must not take the next case's task."""
    await asyncio.sleep(0.2)


async def restart(scenario: Scenario, attacker: Attacker) -> str:
    """A restart of the stolen instance, to its end: the type of its failure."""
    run = await scenario.world.restart(attacker.instance_id)
    try:
        end = await asyncio.wait_for(run.result(), 30)
        assert end is None, end  # refused: it was no attack
    except TimeoutError:  # what it keeps, the next case could not have
        await run.terminate("the test is over")
        await heal(scenario, attacker)
        raise AssertionError("the operation of the stolen guest has no end") from None
    except WorkflowFailureError as error:
        cause = innermost(error.cause) if isinstance(error.cause, FailureError) else error.cause
        return (cause.type or "?") if isinstance(cause, ApplicationError) else type(cause).__name__
    return NO_FAILURE


async def heal(scenario: Scenario, attacker: Attacker) -> None:
    """The records as they were: the next case's operation is admitted."""
    healed = "UPDATE instances SET status = 'ACTIVE', fault_message = NULL WHERE id = %s"
    await scenario.world.write(healed, attacker.instance_id)


async def honest(attacker: Attacker, task: Task) -> RawRequest:
    """What an honest guest would say."""
    said = {"start_datastore": b'{"guest_version": "1"}', "get_health": b'{"operating_status": "HEALTHY"}'}
    if task.activity_type.name in said:
        return completed(task, sealed_json(attacker, said[task.activity_type.name]))
    return completed(task, await attacker.sealed(None))


def once_well(making: Making) -> Making:
    """Honest about its health, which is asked before anything is stopped; all else is answered so."""

    async def well(attacker: Attacker, task: Task) -> RawRequest:
        return await (honest if task.activity_type.name == "get_health" else making)(attacker, task)

    return well


def always(raw: Callable[[Task], RawRequest]) -> Making:
    """A way of answering that needs no key."""

    async def making(attacker: Attacker, task: Task) -> RawRequest:
        return raw(task)

    return making
