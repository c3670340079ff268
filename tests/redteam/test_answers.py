"""Answers that no honest guest gives: none is believed, and each ends its own call at once."""

from typing import Any

import grpc
import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.workflowservice.v1 import RespondActivityTaskCompletedRequest

from contract.domain.accounts import UserName
from contract.names import control_key_id, guest_key_id
from tests.redteam.raw_requests import (
    RawRequest,
    Task,
    application,
    canceled,
    completed,
    failed,
    groups,
    heartbeat,
    json,
    many,
    piece,
    seal,
    sealed_json,
)
from tests.redteam.scenario import Attacker, Scenario, clear
from tests.redteam.stolen_calls import Making, always, asked, end_of, refusals, restarts, say, several

pytestmark = pytest.mark.asyncio(loop_scope="session")
GOOD = b'{"databases": ["app"]}'


def _sealed(attacker: Attacker, **how: Any) -> Payload:
    return seal(attacker, json(GOOD), **how)


def named(name: str, direction: str = "up") -> Making:
    """Sealed with the stolen key, under another key's name."""

    async def making(attacker: Attacker, task: Task) -> RawRequest:
        return completed(task, many([_sealed(attacker, named=name, direction=direction)]))

    return making


async def own_key_downwards(attacker: Attacker, task: Task) -> RawRequest:
    return completed(task, many([_sealed(attacker, direction="down")]))


async def unknown_epoch(attacker: Attacker, task: Task) -> RawRequest:
    return completed(task, many([_sealed(attacker, named=guest_key_id(attacker.instance_id, 99))]))


async def epoch_spelt_otherwise(attacker: Attacker, task: Task) -> RawRequest:
    return completed(task, many([_sealed(attacker, named=f"i:{attacker.instance_id}:01")]))


async def key_of_no_kind(attacker: Attacker, task: Task) -> RawRequest:
    return completed(task, many([_sealed(attacker, named=f"g:{attacker.instance_id}:1")]))


async def victims_name(attacker: Attacker, task: Task) -> RawRequest:
    (victim,) = [each.instance_id for each in attacker.world.guests if each.instance_id != attacker.instance_id]
    return completed(task, many([_sealed(attacker, named=guest_key_id(victim, attacker.keyring.current))]))


async def victims_heartbeat(attacker: Attacker, task: Task) -> RawRequest:
    raw = RespondActivityTaskCompletedRequest.FromString((await victims_name(attacker, task)).body)
    return heartbeat(task, raw.result)


async def more_than_a_seal(attacker: Attacker, task: Task) -> RawRequest:
    payload = _sealed(attacker)
    payload.metadata["coffer-origin"] = b"c:1/down"
    return completed(task, many([payload]))


async def payloads_elsewhere(attacker: Attacker, task: Task) -> RawRequest:
    payload = _sealed(attacker)
    payload.external_payloads.add(size_bytes=10**9)
    return completed(task, many([payload]))


async def cut_seal(attacker: Attacker, task: Task) -> RawRequest:
    payload = _sealed(attacker)
    payload.data = payload.data[:20]
    return completed(task, many([payload]))


async def seal_of_no_length(attacker: Attacker, task: Task) -> RawRequest:
    payload = _sealed(attacker)
    payload.data = b""
    return completed(task, many([payload]))


async def seal_without_encoding(attacker: Attacker, task: Task) -> RawRequest:
    payload = _sealed(attacker)
    del payload.metadata["encoding"]
    payload.metadata["other"] = b"binary/encrypted"
    return completed(task, many([payload]))


def large(size: int) -> Making:
    """A sealed answer of so many bytes."""

    async def making(attacker: Attacker, task: Task) -> RawRequest:
        return completed(task, sealed_json(attacker, b'"' + b"x" * size + b'"'))

    return making


def behind_the_token(garbage: bytes) -> Making:
    """A request of a good token, and then this."""
    return always(lambda task: RawRequest("RespondActivityTaskCompleted", piece(1, task.task_token) + garbage))


async def groups_behind_an_answer(attacker: Attacker, task: Task) -> RawRequest:
    raw = completed(task, sealed_json(attacker, GOOD))
    return RawRequest(raw.rpc, raw.body + groups(200))


async def two_good_payloads(attacker: Attacker, task: Task) -> RawRequest:
    return completed(task, many([_sealed(attacker), _sealed(attacker)]))


REFUSED: dict[str, dict[str, Making]] = {
    "seals": {
        "a payload in clear": always(lambda task: completed(task, clear(GOOD))),
        "the name of the control plane's key": named(control_key_id(1)),
        "the control plane's own word": named(control_key_id(1), "down"),
        "the victim's name": victims_name,
        "its own key downwards": own_key_downwards,
        "a key of an epoch that is not": unknown_epoch,
        "an epoch spelt otherwise": epoch_spelt_otherwise,
        "a key of a kind that is not": key_of_no_kind,
        "a name that is no key": named("i:" + "é" * 300),
    },
    "payloads": {
        "more metadata than a seal": more_than_a_seal,
        "payloads that are elsewhere": payloads_elsewhere,
        "a seal that was cut": cut_seal,
        "a seal of no length": seal_of_no_length,
        "a seal without its encoding": seal_without_encoding,
        "an empty payload": always(lambda task: completed(task, many([Payload()]))),
        "no result": always(lambda task: completed(task)),
        "a result without a payload": always(lambda task: completed(task, Payloads())),
        "two good payloads": two_good_payloads,
        "10000 payloads": always(lambda task: completed(task, many([Payload()] * 10_000))),
        "70 kB": large(70_000),
        "250 kB": large(250_000),
    },
    "messages": {
        "garbage behind the token": behind_the_token(b"\x12\x7f" + bytes(range(255, 128, -1)) * 4),
        "a field longer than the message": behind_the_token(b"\x12\xff\xff\x03abc"),
        "a group": behind_the_token(groups(1)),
        "200 groups in one another": behind_the_token(groups(200)),
        "200 groups behind a good answer": groups_behind_an_answer,
        "5000 fields": behind_the_token(piece(900, b"") * 5000),
    },
    "other words": {
        "a heartbeat in clear": always(lambda task: heartbeat(task, clear())),
        "a heartbeat in the victim's name": victims_heartbeat,
        "a heartbeat of 100 kB": always(lambda task: heartbeat(task, clear(b"x" * 100_000))),
        "a cancel in clear": always(lambda task: canceled(task, clear())),
        "a cancel that nobody asked for": always(lambda task: canceled(task, None)),
        "last heartbeat details in clear": always(lambda task: failed(task, application("EngineFailed"), clear())),
    },
}


@pytest.mark.parametrize("group", REFUSED)
async def test_answering_with(scenario: Scenario, attacker: Attacker, group: str) -> None:
    await several(scenario, refusals(attacker, REFUSED[group]))


async def test_answering_steps_of_an_operation_with(scenario: Scenario, attacker: Attacker) -> None:
    """The operation of the stolen instance ends as failed, soon; it is nobody else's concern."""
    chosen = {
        name: REFUSED["payloads"][name] for name in ("no result", "a result without a payload", "two good payloads")
    }
    chosen["a payload in clear"] = REFUSED["seals"]["a payload in clear"]
    await several(scenario, restarts(scenario, attacker, chosen, "GuestProtocolError"))


async def test_reflecting_what_it_was_asked(scenario: Scenario, attacker: Attacker) -> None:
    """The question is sealed with the guest's own key, and by the control plane: it is no answer of the guest's."""
    async with scenario.attack() as outcome, asked(attacker, "get_user", UserName(name="amy")) as (task, call):
        await say(attacker, completed(task, task.input))
        outcome.got = f"its own call: {await end_of(attacker, call)}"
        assert outcome.got.endswith("GuestProtocolError")


async def test_answering_more_than_grpc_lets_in(scenario: Scenario, attacker: Attacker) -> None:
    """3 MB are not read at all, so nobody knows of which task they are: as if the guest had said nothing."""
    async with scenario.attack() as outcome, asked(attacker, "list_databases", seconds=2) as (task, call):
        got = await say(attacker, await large(3 * 2**20)(attacker, task))
        assert got.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        outcome.got = f"{got.code.name}; its own call: {await end_of(attacker, call)}"
        assert outcome.got.endswith("TimeoutError")


async def test_answering_with_fields_that_nobody_knows(scenario: Scenario, attacker: Attacker) -> None:
    """They are dropped, at every level; the answer itself is the guest's own, and counts."""
    async with scenario.attack() as outcome, asked(attacker, "list_databases") as (task, call):
        result = sealed_json(attacker, GOOD).SerializeToString() + piece(77, b"unknown")
        body = piece(1, task.task_token) + piece(2, result) + piece(99, clear().SerializeToString())
        got = await say(attacker, RawRequest("RespondActivityTaskCompleted", body))
        assert got.code is grpc.StatusCode.OK
        outcome.got = f"its own call: {await end_of(attacker, call)}"
        assert "app" in outcome.got


async def test_naming_two_tasks_in_one_answer(scenario: Scenario, attacker: Attacker) -> None:
    """Whichever a decoder takes, gateway and Temporal must take the same: the gateway passes on one alone."""
    async with scenario.attack() as outcome, asked(attacker, "list_databases") as (task, call):
        result = piece(2, sealed_json(attacker, GOOD).SerializeToString())
        good, bad = piece(1, task.task_token), piece(1, task.task_token[:37] + b"another task")
        denied = await say(attacker, RawRequest("RespondActivityTaskCompleted", good + result + bad))
        assert denied.code is grpc.StatusCode.PERMISSION_DENIED
        taken = await say(attacker, RawRequest("RespondActivityTaskCompleted", bad + result + good))
        assert taken.code is grpc.StatusCode.OK
        outcome.got = f"{denied.code.name}, and with the good one last: {await end_of(attacker, call)}"
        assert "app" in outcome.got
