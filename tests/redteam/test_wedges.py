"""What a guest can say with its own seals, and when: it must not stop a run, nor keep the control plane busy."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from typing import Any

import grpc
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from contract.names import RUNBOOKS, watch_id
from contract.ports.guest import UserList
from tests.redteam.raw_requests import RawRequest, Task, application, completed, failed, heartbeat, sealed_json
from tests.redteam.scenario import Attacker, Scenario
from tests.redteam.stolen_calls import NO_FAILURE, Making, asked, end_of, honest, restarts, say, several, stolen_worker
from workflows.instance.watch import WatchInstance, WatchOrder

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEEP = b"[" * 30_000 + b"]" * 30_000
ANSWERS = {
    "JSON that nests deep": (DEEP, "GuestProtocolError"),
    "objects that nest deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "GuestProtocolError"),
    "JSON that ends early": (b'{"guest_version": "1', "GuestProtocolError"),
    "another shape": (b'["guest_version"]', "GuestProtocolError"),
    "NaN": (b'{"guest_version": NaN}', "GuestProtocolError"),
    "a huge number": (b'{"guest_version": ' + b"9" * 60_000 + b"}", "GuestProtocolError"),
    "half a letter": (b'{"guest_version": "\\ud800"}', "GuestProtocolError"),
    "no UTF-8": (b'{"guest_version": "\xff\xfe"}', "GuestProtocolError"),
    "a string of 65 kB": (b'{"guest_version": "' + b"v" * 65_000 + b'"}', NO_FAILURE),
    "a zero in a string": (b'{"guest_version": "\\u0000"}', NO_FAILURE),
    "the same name a thousand times": (
        b'{"guest_version": "1"' + b', "guest_version": "2"' * 1000 + b"}",
        NO_FAILURE,
    ),
}


def at_start(text: bytes) -> Making:
    """An honest guest, but for its answer to the start."""

    async def making(attacker: Attacker, task: Task) -> RawRequest:
        if task.activity_type.name == "start_datastore":
            return completed(task, sealed_json(attacker, text))
        return await honest(attacker, task)

    return making


@pytest.mark.parametrize("wanted", ["GuestProtocolError", NO_FAILURE], ids=["nonsense", "oddities"])
async def test_under_its_own_seal(scenario: Scenario, attacker: Attacker, wanted: str) -> None:
    """What is no answer fails; what is one, however strange, goes nowhere that could not hold it."""
    makings = {name: at_start(text) for name, (text, end) in ANSWERS.items() if end == wanted}
    await several(scenario, restarts(scenario, attacker, makings, wanted))


async def test_telling_the_api_of(scenario: Scenario, attacker: Attacker) -> None:
    """What the API asks for a tenant comes back as what the port promises, or not at all."""
    crowd = b", ".join(b'{"name": "user%d", "host": "%%"}' % number for number in range(1500))

    async def case(text: bytes, wanted: str) -> str:
        async with asked(attacker, "list_users") as (task, call):
            await say(attacker, completed(task, sealed_json(attacker, text)))
            end = await end_of(attacker, call, UserList)
            assert wanted in end, end
            return f"its own call: {end[:30]}"

    lists = {
        "1500 users": (b'{"users": [' + crowd + b"]}", "user1499"),
        "a zero in a name": (b'{"users": [{"name": "a\\u0000"}]}', "a"),
        "half a letter in a name": (b'{"users": [{"name": "\\udc00"}]}', "GuestProtocolError"),
        "users that are none": (b'{"users": [1, null, {}]}', "GuestProtocolError"),
        "JSON that nests deep": (DEEP, "GuestProtocolError"),
    }
    await several(scenario, {name: partial(case, *each) for name, each in lists.items()})


# -- the watch ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watched(scenario: Scenario, attacker: Attacker) -> AsyncIterator["WorkflowHandle[Any, Any]"]:
    """The stolen instance is watched, as any instance is."""
    order = WatchOrder(instance_id=attacker.instance_id)
    handle = await scenario.world.client.start_workflow(
        WatchInstance.run, order, id=watch_id(attacker.instance_id), task_queue=RUNBOOKS
    )
    try:
        yield handle
    finally:
        await handle.terminate("the test is over")


async def events_of(handle: "WorkflowHandle[Any, Any]") -> Counter[int]:
    """Kinds of events in a run's history, and how many of each."""
    return Counter([event.event_type async for event in handle.fetch_history_events()])


NEWS = (b'{"operating_status": "HEALTHY"}', b'{"operating_status": "RESTARTING"}')


async def test_having_news_all_the_time(scenario: Scenario, attacker: Attacker) -> None:
    """Some changes in a row are an engine that goes down and comes up; then the watch takes breath."""
    news = cycle(NEWS)

    async def making(attacker: Attacker, task: Task) -> RawRequest:
        return completed(task, sealed_json(attacker, next(news)))

    async with (
        scenario.attack() as outcome,
        watched(scenario, attacker) as watch,
        stolen_worker(attacker, making) as working,
    ):
        await asyncio.sleep(5)
        events = sum((await events_of(watch)).values())
        outcome.got = f"{len(working.seen)} questions and {events} events in 5 s"
        assert len(working.seen) <= 10
        assert events < 150


HEALTHS = {
    "a status that is none": b'{"operating_status": "PWNED"}',
    "a disk of 10^30 bytes": b'{"operating_status": "HEALTHY", "volume_used_bytes": 1' + b"0" * 30 + b"}",
    "less than nothing on its disk": b'{"operating_status": "HEALTHY", "volume_used_bytes": -5}',
    "a zero in its version": b'{"operating_status": "HEALTHY", "guest_version": "1\\u0000"}',
    "a version of 60 kB": b'{"operating_status": "HEALTHY", "guest_version": "' + b"v" * 60_000 + b'"}',
    "NaN bytes on its disk": b'{"operating_status": "HEALTHY", "volume_used_bytes": NaN}',
    "JSON that nests deep": DEEP,
}


async def test_telling_the_watch_of(scenario: Scenario, attacker: Attacker) -> None:
    """Nothing that the records could not hold comes to them; the watch asks again, later."""

    async def case(text: bytes) -> str:
        async def making(attacker: Attacker, task: Task) -> RawRequest:
            return completed(task, sealed_json(attacker, text))

        async with watched(scenario, attacker) as watch, stolen_worker(attacker, making) as working:
            for _ in range(100):
                events = await events_of(watch)
                if events[EventType.EVENT_TYPE_TIMER_STARTED]:
                    break
                await asyncio.sleep(0.1)
            assert events[EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED] == 0
            assert len(working.seen) == 1
            return f"{sum(events.values())} events, and it is asked again later"

    await several(scenario, {name: partial(case, text) for name, text in HEALTHS.items()})


# -- when it speaks ----------------------------------------------------------------------------------------------------

GOOD = b'{"databases": ["app"]}'


async def test_never_answering(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome, asked(attacker, "list_databases", seconds=2) as (_, call):
        outcome.got = f"its own call: {await end_of(attacker, call)}"
        assert outcome.got.endswith("TimeoutError")


async def test_answering_twice(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome, asked(attacker, "list_databases") as (task, call):
        await say(attacker, completed(task, sealed_json(attacker, GOOD)))
        again = await say(attacker, completed(task, sealed_json(attacker, b'{"databases": ["other"]}')))
        assert again.code is grpc.StatusCode.NOT_FOUND
        outcome.got = f"{again}; its own call: {await end_of(attacker, call)}"
        assert "'app'" in outcome.got


async def test_answering_when_nobody_waits_any_more(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome, asked(attacker, "list_databases", seconds=2) as (task, call):
        end = await end_of(attacker, call)
        late = await say(attacker, completed(task, sealed_json(attacker, GOOD)))
        outcome.got = f"its own call: {end}; {late}"
        assert (end, late.code) == ("TimeoutError", grpc.StatusCode.NOT_FOUND)


async def test_answering_an_attempt_that_is_over(scenario: Scenario, attacker: Attacker) -> None:
    """The token of the first attempt is good for the first attempt alone."""
    async with scenario.attack() as outcome, asked(attacker, "list_databases", attempts=2) as (task, call):
        await say(attacker, failed(task, application("EngineFailed", non_retryable=False)))
        second = await attacker.poll()
        late = await say(attacker, completed(task, sealed_json(attacker, b'{"databases": ["late"]}')))
        await say(attacker, completed(second, sealed_json(attacker, GOOD)))
        outcome.got = f"{late}; its own call: {await end_of(attacker, call)}"
        assert late.code is grpc.StatusCode.NOT_FOUND
        assert "'app'" in outcome.got


async def test_heartbeating_for_ever(scenario: Scenario, attacker: Attacker) -> None:
    """A heartbeat does not lengthen a step."""
    async with scenario.attack() as outcome, asked(attacker, "list_databases", seconds=2) as (task, call):
        beats = 0
        for _ in range(40):
            got = await say(attacker, heartbeat(task, None))
            if got.code is not grpc.StatusCode.OK:
                break
            beats += 1
            await asyncio.sleep(0.1)
        outcome.got = f"{beats} heartbeats, then {got.code.name}; its own call: {await end_of(attacker, call)}"
        assert got.code is grpc.StatusCode.NOT_FOUND
        assert outcome.got.endswith("TimeoutError")
