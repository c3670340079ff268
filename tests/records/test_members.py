"""Operations on several members of a group: each has its own status, its own interruption and its own numbers."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.domain.errors import BadRequest, Busy, NotFound, Refused
from contract.domain.instance import InstanceStatus
from contract.domain.kinds import KINDS, Needs
from contract.domain.operation import (
    AdmissionRequest,
    Caller,
    CloseOperation,
    MemberEnd,
    MemberRequest,
    OperationKind,
    OperationState,
    Step,
    StepsNote,
)
from records import sweeps
from records.reads import Reader
from tests.records.runbook_driver import OFFER, Asked, Driver, learnt_server

pytestmark = pytest.mark.asyncio(loop_scope="session")
ON_A_SERVER = [each for each in OperationKind if KINDS[each].needs is Needs.SERVER]


async def pair(driver: Driver) -> tuple[Asked, Asked]:
    """Two instances of one group that serve."""
    first = await driver.created()
    second = await driver.creation(first.caller.project_id, group_id=first.instance_id)
    await driver.done(await driver.records.admit(second), OperationKind.CREATE)
    return first, second


def on_both(
    driver: Driver, pair: tuple[Asked, Asked], kind: OperationKind = OperationKind.RESTART, **more: Any
) -> Asked:
    """An operation on both."""
    first, second = pair
    members = tuple(MemberRequest(instance_id=each.instance_id) for each in (first, second))
    return driver.request(kind, first.instance_id, first.caller, members=members, **more)


def on(driver: Driver, kind: OperationKind, member: Asked, **more: Any) -> Asked:
    """An operation on one of them."""
    return driver.request(kind, member.instance_id, member.caller, group_id=member.group_id, **more)


async def statuses(driver: Driver, *members: Asked) -> list[str]:
    """What the records say of them."""
    return [(await driver.instance(each.instance_id))["status"] for each in members]


async def left(driver: Driver) -> dict[UUID, set[UUID]]:
    """What the sweep would settle, by group."""
    async with driver.engine.connect() as conn:
        return {each.group_id: set(each.instance_ids) for each in await sweeps.left_half_way(conn)}


async def test_an_operation_is_admitted_on_each_member_or_on_none(driver: Driver) -> None:
    both = await pair(driver)
    admission = await driver.records.admit(on_both(driver, both))
    assert [each.instance.id for each in admission.members] == [each.instance_id for each in both]
    assert await statuses(driver, *both) == ["REBOOT", "REBOOT"]
    await driver.done(admission, OperationKind.RESTART)
    await driver.sql("UPDATE resources SET id = NULL WHERE instance_id = :id", id=both[1].instance_id)
    before = await driver.everything()
    with pytest.raises(Busy, match="has no server"):
        await driver.records.admit(on_both(driver, both))
    assert await driver.everything() == before


async def test_a_member_of_another_group_project_or_named_twice_is_refused(driver: Driver) -> None:
    both = await pair(driver)
    stranger = await driver.created()
    before = await driver.everything()
    for second, why in ((stranger, NotFound), (await driver.created(both[0].caller.project_id), Refused)):
        before = await driver.everything()
        with pytest.raises(why):
            await driver.records.admit(on_both(driver, (both[0], second)))
        assert await driver.everything() == before
    with pytest.raises(BadRequest):
        await driver.records.admit(on_both(driver, (both[0], both[0])))
    assert await driver.everything() == before


async def test_asked_again_it_must_be_about_the_same_members(driver: Driver) -> None:
    both = await pair(driver)
    asked = on_both(driver, both)
    admission = await driver.records.admit(asked)
    assert [each.instance.id for each in (await driver.records.admit(asked)).members] == [
        each.instance.id for each in admission.members
    ]
    one = asked.model_copy(update={"members": asked.members[:1]})
    with pytest.raises(Refused, match="cannot be used twice"):
        await driver.records.admit(one)


async def test_steps_and_what_they_found_are_the_members_own(driver: Driver, reader: Reader) -> None:
    both = await pair(driver)
    admission = await driver.records.admit(on_both(driver, both))
    frame = {"operation_id": admission.operation_id, "fence": admission.fence}
    began = (await driver.sql("SELECT now()"))[0]["now"]
    steps = [
        Step(number=n + 1, name=f"step {n}", instance_id=of, began=began)
        for n, of in enumerate((both[0].instance_id, both[1].instance_id, None))
    ]
    found = [
        learnt_server(f"new of {each.instance_id}").model_copy(update={"instance_id": each.instance_id})
        for each in both
    ]
    await driver.records.note_steps(StepsNote.model_validate(frame | {"steps": steps, "learnt": found}))
    for each, name in zip(both, ("step 0", "step 1"), strict=True):
        assert (await driver.resources(each.instance_id))["server main 1"] == f"new of {each.instance_id}"
        operation = await reader.get_operation(admission.operation_id, each.instance_id)
        assert operation is not None
        assert [step.name for step in operation.steps] == [name, "step 2"]
        assert (await reader.list_operations(each.instance_id))[0] == operation
    stranger = await driver.created()
    strange = learnt_server("stolen").model_copy(update={"instance_id": stranger.instance_id})
    with pytest.raises(Refused, match="does not work on instance"):
        await driver.records.note_steps(StepsNote.model_validate(frame | {"learnt": [strange]}))


async def test_each_member_ends_as_it_is_said_of_it(driver: Driver) -> None:
    first, second = await pair(driver)
    third = await driver.creation(first.caller.project_id, group_id=first.instance_id)
    members = (
        MemberRequest(instance_id=third.instance_id, spec=third.spec, offer=OFFER),
        *(MemberRequest(instance_id=each.instance_id) for each in (first, second)),
    )
    admission = await driver.records.admit(third.model_copy(update={"members": members}))
    assert await statuses(driver, first, second, third) == ["ACTIVE", "ACTIVE", "BUILD"]
    ends = [
        MemberEnd(instance_id=third.instance_id, status=InstanceStatus.ERROR, reason="not built"),
        MemberEnd(instance_id=first.instance_id, status=InstanceStatus.ERROR, reason="broken"),
        MemberEnd(instance_id=second.instance_id, status=InstanceStatus.ACTIVE),
    ]
    word = CloseOperation(operation_id=admission.operation_id, fence=admission.fence, state=OperationState.FAILED, reason="why",
                 ends=tuple(ends))  # fmt: skip
    await driver.records.close(word)
    rows = [await driver.instance(each.instance_id) for each in (first, second, third)]
    assert [(row["status"], row["fault_message"]) for row in rows] == [
        ("ERROR", "broken"), ("ACTIVE", "why"), ("ERROR", "not built")
    ]  # fmt: skip
    # of what was being built nothing is left; what was there before keeps what it has
    assert [len(await driver.charges(each.instance_id)) for each in (first, second, third)] == [3, 3, 0]
    assert await driver.resources(first.instance_id) != {}


async def test_a_creation_needs_the_servers_of_the_members_that_are_there(driver: Driver) -> None:
    first, second = await pair(driver)
    await driver.sql("UPDATE resources SET id = NULL WHERE instance_id = :id", id=second.instance_id)
    third = await driver.creation(first.caller.project_id, group_id=first.instance_id)
    members = (*third.members, MemberRequest(instance_id=second.instance_id))
    with pytest.raises(Busy, match="has no server"):
        await driver.records.admit(third.model_copy(update={"members": members}))


async def test_what_was_interrupted_on_one_member_is_nobody_elses(driver: Driver) -> None:
    """Another member's operation does not put it right, and does not hide it either."""
    first, second = await pair(driver)
    await driver.records.admit(on(driver, OperationKind.RESIZE_FLAVOR, first))
    restart = await driver.records.admit(on(driver, OperationKind.RESTART, second))  # closes what is stale
    assert restart.members[0].interrupted is None
    assert await left(driver) == {}  # not while another one works on the group
    with pytest.raises(Busy, match="an interrupted resize_flavor is being put right"):
        await driver.records.admit(on(driver, OperationKind.RESTART, first))
    await driver.done(restart, OperationKind.RESTART)
    assert await left(driver) == {first.instance_id: {first.instance_id}}
    settle = await driver.records.admit(on(driver, OperationKind.SETTLE, first))
    assert settle.members[0].interrupted is OperationKind.RESIZE_FLAVOR
    await driver.close(settle, OperationState.DONE, status=InstanceStatus.ACTIVE)
    assert await left(driver) == {}
    await driver.records.admit(on(driver, OperationKind.RESTART, first))


async def test_a_deletion_of_one_member_leaves_the_other_to_be_put_right(driver: Driver) -> None:
    """It takes over from an operation on both: the other one is settled as after any interruption."""
    first, second = both = await pair(driver)
    working = on_both(driver, both)
    await driver.records.admit(working)
    deletion = on(driver, OperationKind.DELETE, first, first_execution_run_id=working.first_execution_run_id)
    admission = await driver.records.admit(deletion)
    assert [each.interrupted for each in admission.members] == [None]
    assert (await driver.instance(second.instance_id))["unsettled"] == "restart"
    assert (await driver.operation(working.operation_id))["state"] == "CANCELLED"
    await driver.done(admission, OperationKind.DELETE, deleted=True)
    assert await left(driver) == {first.instance_id: {second.instance_id}}


async def test_an_instance_that_is_to_be_put_right_counts_as_worked_on(driver: Driver) -> None:
    first, second = both = await pair(driver)
    await driver.records.admit(on_both(driver, both))
    restart = await driver.records.admit(on(driver, OperationKind.RESTART, second))
    await driver.done(restart, OperationKind.RESTART)
    async with driver.engine.connect() as conn:
        assert set(await sweeps.unattended(conn)) & {first.instance_id, second.instance_id} == {second.instance_id}
        stays = await sweeps.wanted(conn)
    assert stays.keeps("volume", "made half-way", str(first.instance_id))
    assert not stays.keeps("volume", "zombie", str(second.instance_id))


async def test_a_resize_that_was_interrupted_after_an_interrupted_restart_is_settled_as_a_resize(
    driver: Driver,
) -> None:
    created = await driver.created()
    for kind in (OperationKind.RESTART, OperationKind.RESIZE_FLAVOR):
        await driver.records.admit(driver.request(kind, created.instance_id, created.caller))
    settle = await driver.records.admit(driver.request(OperationKind.SETTLE, created.instance_id, created.caller))
    assert settle.members[0].interrupted is OperationKind.RESIZE_FLAVOR


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["first", "second", "both", "leaves", "returns"])), max_size=8))
async def test_a_members_numbers_rise_whatever_group_it_is_in(driver: Driver, steps: list[tuple[str]]) -> None:
    """A replica that is detached to a group of its own: its guest has seen the numbers of the old one, and remembers."""
    first, second = await pair(driver)
    own = uuid4()
    await driver.sql("INSERT INTO groups (id) VALUES (:id)", id=own)
    seen = {first.instance_id: 2, second.instance_id: 2}
    group = first.instance_id
    for (step,) in steps:
        if step in ("leaves", "returns"):  # what an operation that detaches it will write
            group = own if step == "leaves" else first.instance_id
            await driver.sql("UPDATE instances SET group_id = :g WHERE id = :id", g=group, id=second.instance_id)
            continue
        if step == "both" and group == own:
            continue
        asked = {"first": on(driver, OperationKind.RESTART, first), "both": on_both(driver, (first, second)),
                 "second": on(driver, OperationKind.RESTART, second).model_copy(update={"group_id": group})}[step]  # fmt: skip
        await admit_above(driver, asked, seen)


async def admit_above(driver: Driver, asked: AdmissionRequest, seen: dict[UUID, int]) -> None:
    """Its number is above all that its members have seen."""
    admission = await driver.records.admit(asked)
    for each in asked.members:
        assert admission.fence > seen[each.instance_id]
        seen[each.instance_id] = admission.fence
    await driver.done(admission, OperationKind.RESTART)


@pytest.mark.parametrize("kind", ON_A_SERVER)
async def test_an_administrator_of_another_project_needs_every_member_to_be_of_the_group(
    driver: Driver, kind: OperationKind
) -> None:
    both = await pair(driver)
    asked = on_both(driver, both, kind).model_copy(update={"caller": Caller(project_id="admin", is_admin=True)})
    await driver.records.admit(asked)
    assert (await driver.operation(asked.operation_id))["project_id"] == both[0].caller.project_id
