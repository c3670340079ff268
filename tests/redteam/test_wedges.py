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

from tests.redteam.field import Field, Thief
from tests.redteam.puppet import (
    NO_FAILURE,
    Making,
    Task,
    Word,
    application,
    asked,
    completed,
    end_of,
    failed,
    heartbeat,
    honest,
    puppet,
    restarts,
    say,
    sealed_json,
    several,
)
from workflows.instance.watch import WatchInstance, WatchOrder
from workflows.names import RUNBOOKS, watch_id
from workflows.ports.guest import UserList

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

    async def making(thief: Thief, task: Task) -> Word:
        if task.activity_type.name == "start_datastore":
            return completed(task, sealed_json(thief, text))
        return await honest(thief, task)

    return making


@pytest.mark.parametrize("wanted", ["GuestProtocolError", NO_FAILURE], ids=["nonsense", "oddities"])
async def test_under_its_own_seal(field: Field, thief: Thief, wanted: str) -> None:
    """What is no answer fails; what is one, however strange, goes nowhere that could not hold it."""
    makings = {name: at_start(text) for name, (text, end) in ANSWERS.items() if end == wanted}
    await several(field, restarts(field, thief, makings, wanted))


async def test_telling_the_api_of(field: Field, thief: Thief) -> None:
    """What the API asks for a tenant comes back as what the port promises, or not at all."""
    crowd = b", ".join(b'{"name": "user%d", "host": "%%"}' % number for number in range(1500))

    async def case(text: bytes, wanted: str) -> str:
        async with asked(thief, "list_users") as (task, call):
            await say(thief, completed(task, sealed_json(thief, text)))
            end = await end_of(thief, call, UserList)
            assert wanted in end, end
            return f"its own call: {end[:30]}"

    lists = {
        "1500 users": (b'{"users": [' + crowd + b"]}", "user1499"),
        "a zero in a name": (b'{"users": [{"name": "a\\u0000"}]}', "a"),
        "half a letter in a name": (b'{"users": [{"name": "\\udc00"}]}', "GuestProtocolError"),
        "users that are none": (b'{"users": [1, null, {}]}', "GuestProtocolError"),
        "JSON that nests deep": (DEEP, "GuestProtocolError"),
    }
    await several(field, {name: partial(case, *each) for name, each in lists.items()})


# -- the watch ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watched(field: Field, thief: Thief) -> AsyncIterator["WorkflowHandle[Any, Any]"]:
    """The stolen instance is watched, as any instance is."""
    order = WatchOrder(instance_id=thief.instance_id)
    handle = await field.world.client.start_workflow(
        WatchInstance.run, order, id=watch_id(thief.instance_id), task_queue=RUNBOOKS
    )
    try:
        yield handle
    finally:
        await handle.terminate("the test is over")


async def events_of(handle: "WorkflowHandle[Any, Any]") -> Counter[int]:
    """Kinds of events in a run's history, and how many of each."""
    return Counter([event.event_type async for event in handle.fetch_history_events()])


NEWS = (b'{"operating_status": "HEALTHY"}', b'{"operating_status": "RESTARTING"}')


async def test_having_news_all_the_time(field: Field, thief: Thief) -> None:
    """Some changes in a row are an engine that goes down and comes up; then the watch takes breath."""
    news = cycle(NEWS)

    async def making(thief: Thief, task: Task) -> Word:
        return completed(task, sealed_json(thief, next(news)))

    async with field.attack() as loot, watched(field, thief) as watch, puppet(thief, making) as working:
        await asyncio.sleep(5)
        events = sum((await events_of(watch)).values())
        loot.got = f"{len(working.seen)} questions and {events} events in 5 s"
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


async def test_telling_the_watch_of(field: Field, thief: Thief) -> None:
    """Nothing that the records could not hold comes to them; the watch asks again, later."""

    async def case(text: bytes) -> str:
        async def making(thief: Thief, task: Task) -> Word:
            return completed(task, sealed_json(thief, text))

        async with watched(field, thief) as watch, puppet(thief, making) as working:
            for _ in range(100):
                events = await events_of(watch)
                if events[EventType.EVENT_TYPE_TIMER_STARTED]:
                    break
                await asyncio.sleep(0.1)
            assert events[EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED] == 0
            assert len(working.seen) == 1
            return f"{sum(events.values())} events, and it is asked again later"

    await several(field, {name: partial(case, text) for name, text in HEALTHS.items()})


# -- when it speaks ----------------------------------------------------------------------------------------------------

GOOD = b'{"databases": ["app"]}'


async def test_never_answering(field: Field, thief: Thief) -> None:
    async with field.attack() as loot, asked(thief, "list_databases", seconds=2) as (_, call):
        loot.got = f"its own call: {await end_of(thief, call)}"
        assert loot.got.endswith("TimeoutError")


async def test_answering_twice(field: Field, thief: Thief) -> None:
    async with field.attack() as loot, asked(thief, "list_databases") as (task, call):
        await say(thief, completed(task, sealed_json(thief, GOOD)))
        again = await say(thief, completed(task, sealed_json(thief, b'{"databases": ["other"]}')))
        assert again.code is grpc.StatusCode.NOT_FOUND
        loot.got = f"{again}; its own call: {await end_of(thief, call)}"
        assert "'app'" in loot.got


async def test_answering_when_nobody_waits_any_more(field: Field, thief: Thief) -> None:
    async with field.attack() as loot, asked(thief, "list_databases", seconds=2) as (task, call):
        end = await end_of(thief, call)
        late = await say(thief, completed(task, sealed_json(thief, GOOD)))
        loot.got = f"its own call: {end}; {late}"
        assert (end, late.code) == ("TimeoutError", grpc.StatusCode.NOT_FOUND)


async def test_answering_an_attempt_that_is_over(field: Field, thief: Thief) -> None:
    """The token of the first attempt is good for the first attempt alone."""
    async with field.attack() as loot, asked(thief, "list_databases", attempts=2) as (task, call):
        await say(thief, failed(task, application("EngineFailed", non_retryable=False)))
        second = await thief.poll()
        late = await say(thief, completed(task, sealed_json(thief, b'{"databases": ["late"]}')))
        await say(thief, completed(second, sealed_json(thief, GOOD)))
        loot.got = f"{late}; its own call: {await end_of(thief, call)}"
        assert late.code is grpc.StatusCode.NOT_FOUND
        assert "'app'" in loot.got


async def test_heartbeating_for_ever(field: Field, thief: Thief) -> None:
    """A heartbeat does not lengthen a step."""
    async with field.attack() as loot, asked(thief, "list_databases", seconds=2) as (task, call):
        beats = 0
        for _ in range(40):
            got = await say(thief, heartbeat(task, None))
            if got.code is not grpc.StatusCode.OK:
                break
            beats += 1
            await asyncio.sleep(0.1)
        loot.got = f"{beats} heartbeats, then {got.code.name}; its own call: {await end_of(thief, call)}"
        assert got.code is grpc.StatusCode.NOT_FOUND
        assert loot.got.endswith("TimeoutError")
