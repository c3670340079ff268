"""Notes and the last word are taken from an open operation with its own number, and from nobody else."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from contract.domain.errors import FenceLost
from contract.domain.instance import Address, HealthReport, InstanceStatus, OperatingStatus
from contract.domain.operation import Admission, Caller, OperationKind, OperationState, ResourceChanges, Step, StepsNote
from contract.domain.resources import Resource, ResourceKind
from records.reads import Reader, Scope
from tests.records.runbook_driver import ITS_OWN, Driver, learnt_server

FOUND = tuple(Resource(kind=kind, id=kind.value[0]) for kind in ResourceKind)
LEARNT = ResourceChanges(instance_id=ITS_OWN, resources=FOUND, addresses=(Address(address="10.0.0.5", network="n"),))
KNOWN = {"server main 1": "s", "volume main 1": "v", "port main 1": "p"}


def of_its_member(admission: Admission) -> ResourceChanges:
    """What was found out about the one member of an operation."""
    return LEARNT.model_copy(update={"instance_id": admission.members[0].instance.id})


async def building(driver: Driver) -> Admission:
    """An admitted creation."""
    return await driver.records.admit(await driver.creation())


async def restarting(driver: Driver) -> Admission:
    """An admitted restart of an instance that was built."""
    created = await driver.created()
    return await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))


async def steps_of(driver: Driver, operation_id: UUID) -> list[tuple[int, str, str | None]]:
    """Number, name and outcome."""
    rows = await driver.sql("SELECT * FROM operation_steps WHERE operation_id = :id ORDER BY number", id=operation_id)
    assert all((each["outcome"] is None) == (each["finished"] is None) for each in rows)
    return [(each["number"], each["name"], each["outcome"]) for each in rows]


async def lost(driver: Driver, admission: Admission, **changed: Any) -> None:
    """Neither a note nor a last word is taken, and no row has changed."""
    there = admission.model_copy(update=changed)
    before = await driver.everything()
    with pytest.raises(FenceLost):
        await driver.note(there, begins="late", learnt=LEARNT)
    with pytest.raises(FenceLost):
        await driver.close(there, OperationState.FAILED, status=InstanceStatus.ERROR, reason="late", deleted=True)
    assert await driver.everything() == before


async def test_one_note_ends_a_step_and_begins_the_next(driver: Driver) -> None:
    admission = await building(driver)
    await driver.note(admission, begins="create port")
    await driver.note(admission, ended="create port", begins="create volume", learnt=LEARNT)
    assert await steps_of(driver, admission.operation_id) == [(1, "create port", "DONE"), (2, "create volume", None)]
    row = await driver.instance(admission.members[0].instance.id)
    assert await driver.resources(admission.members[0].instance.id) == KNOWN
    assert row["addresses"] == [{"address": "10.0.0.5", "type": "private", "network": "n"}]


async def test_a_note_that_learnt_one_thing_leaves_the_others(driver: Driver) -> None:
    admission = await building(driver)
    await driver.note(admission, begins="a", learnt=LEARNT)
    await driver.note(admission, ended="a", begins="b", learnt=learnt_server("another"))
    row = await driver.instance(admission.members[0].instance.id)
    assert await driver.resources(admission.members[0].instance.id) == {**KNOWN, "server main 1": "another"}
    assert len(row["addresses"]) == 1


async def test_a_repeated_note_changes_nothing(driver: Driver) -> None:
    admission = await building(driver)
    for what in ({"begins": "a"}, {"ended": "a", "begins": "b", "learnt": LEARNT}, {"ended": "b"}):
        note = await driver.note(admission, **what)
        before = await driver.everything()
        await driver.records.note_steps(note)
        after = await driver.everything()
        for rows in (*before["instances"], *after["instances"]):
            rows.pop("updated")
        assert after == before


async def test_a_note_tells_several_steps_and_the_last_word_those_that_are_left(driver: Driver) -> None:
    admission = await building(driver)
    began = datetime.now(UTC)
    ended = {"ended": began + timedelta(seconds=1), "outcome": OperationState.DONE}
    one, two = (Step(number=number, name=name, began=began) for number, name in ((1, "a"), (2, "b")))
    frame = {"operation_id": admission.operation_id, "fence": admission.fence}
    await driver.records.note_steps(StepsNote(**frame, steps=(one.model_copy(update=ended), two)))
    assert await steps_of(driver, admission.operation_id) == [(1, "a", "DONE"), (2, "b", None)]
    last = {"steps": (two.model_copy(update=ended),), "learnt": (of_its_member(admission),)}
    await driver.close(admission, OperationState.DONE, status=InstanceStatus.ACTIVE, **last)
    assert await steps_of(driver, admission.operation_id) == [(1, "a", "DONE"), (2, "b", "DONE")]
    assert await driver.resources(admission.members[0].instance.id) == KNOWN


async def test_a_step_may_be_done_again_later(driver: Driver) -> None:
    admission = await building(driver)
    await driver.note(admission, begins="a")
    await driver.note(admission, ended="a", begins="b")
    await driver.note(admission, ended="b", begins="a")
    names = [(1, "a", "DONE"), (2, "b", "DONE"), (3, "a", None)]
    assert await steps_of(driver, admission.operation_id) == names


async def test_nothing_is_taken_under_another_number(driver: Driver) -> None:
    admission = await restarting(driver)
    await lost(driver, admission, fence=admission.fence - 1)
    await lost(driver, admission, fence=admission.fence + 1)
    await driver.note(admission, begins="stop datastore")


async def test_nothing_is_taken_for_an_operation_that_nobody_knows(driver: Driver) -> None:
    await lost(driver, await building(driver), operation_id=uuid4())


async def test_nothing_is_taken_after_another_operation_has_taken_over(driver: Driver) -> None:
    old = await restarting(driver)
    await driver.note(old, begins="stop datastore")
    deletion = driver.request(OperationKind.DELETE, old.members[0].instance.id, await _owner(driver, old))
    new = await driver.records.admit(deletion)
    await lost(driver, old)
    await driver.note(new, begins="end watch")
    await driver.done(new, OperationKind.DELETE, deleted=True)
    assert (await driver.instance(old.members[0].instance.id))["deleted"] is True


async def _owner(driver: Driver, admission: Admission) -> Caller:
    return Caller(project_id=(await driver.instance(admission.members[0].instance.id))["project_id"])


@pytest.mark.parametrize("state", [each for each in OperationState if each is not OperationState.RUNNING])
async def test_no_note_is_taken_after_the_last_word(driver: Driver, state: OperationState) -> None:
    admission = await restarting(driver)
    await driver.close(admission, state, status=InstanceStatus.ACTIVE)
    before = await driver.everything()
    with pytest.raises(FenceLost):
        await driver.note(admission, begins="late")
    assert await driver.everything() == before


async def test_the_last_word_ends_the_operation_and_its_step(driver: Driver) -> None:
    admission = await restarting(driver)
    await driver.note(admission, begins="stop datastore")
    await driver.close(admission, OperationState.FAILED, status=InstanceStatus.ERROR, reason="the engine does not stop")
    row = await driver.operation(admission.operation_id)
    assert (row["state"], row["reason"]) == ("FAILED", "the engine does not stop")
    assert row["finished"] is not None
    assert await steps_of(driver, admission.operation_id) == [(1, "stop datastore", "FAILED")]
    instance = await driver.instance(admission.members[0].instance.id)
    assert (instance["status"], instance["fault_message"]) == ("ERROR", "the engine does not stop")
    assert instance["fault_created"] is not None


async def test_a_good_end_takes_the_fault_away(driver: Driver) -> None:
    failed = await restarting(driver)
    await driver.close(failed, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no")
    caller = await _owner(driver, failed)
    again = await driver.records.admit(driver.request(OperationKind.RESTART, failed.members[0].instance.id, caller))
    await driver.done(again, OperationKind.RESTART)
    row = await driver.instance(failed.members[0].instance.id)
    assert (row["status"], row["fault_message"], row["fault_created"]) == ("ACTIVE", None, None)


@pytest.mark.parametrize("state", [each for each in OperationState if each is not OperationState.RUNNING])
async def test_the_same_last_word_twice_changes_nothing(driver: Driver, state: OperationState) -> None:
    admission = await restarting(driver)
    await driver.close(admission, state, status=InstanceStatus.ACTIVE, reason="why")
    before = await driver.everything()
    await driver.close(admission, state, status=InstanceStatus.ACTIVE, reason="why")
    assert await driver.everything() == before


async def test_a_second_word_that_says_otherwise_is_refused(driver: Driver) -> None:
    admission = await restarting(driver)
    await driver.close(admission, OperationState.DONE, status=InstanceStatus.ACTIVE)
    await lost(driver, admission)


async def test_the_repeated_last_word_of_a_deletion_gives_nothing_back_twice(driver: Driver, reader: Reader) -> None:
    """Whatever happens to come between: the charges are rows, and rows are deleted once."""
    project = f"p-{uuid4()}"
    doomed, kept = await driver.created(project), await driver.created(project)
    deletion = await driver.records.admit(driver.request(OperationKind.DELETE, doomed.instance_id, doomed.caller))
    for _ in range(3):
        await driver.done(deletion, OperationKind.DELETE, deleted=True)
    assert await driver.charges(kept.instance_id) == {"instances": 1, "volumes": 2, "ram": 512}
    used = {each.resource: each.in_use for each in await reader.list_quotas(project)}
    assert used == {"backups": 0, "instances": 1, "ram": 512, "volumes": 2}


async def test_deleted_gives_the_quota_back_in_the_same_transaction(driver: Driver) -> None:
    """Neither is there without the other: the transaction fails at its end, and both are as they were."""
    admission = await restarting(driver)
    caller = await _owner(driver, admission)
    deletion = await driver.records.admit(
        driver.request(OperationKind.DELETE, admission.members[0].instance.id, caller)
    )
    await driver.sql("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the test refuses'; END $$
    """)
    await driver.sql("""
        CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON charges DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    before = await driver.everything()
    try:
        with pytest.raises(Exception, match="the test refuses"):
            await driver.done(deletion, OperationKind.DELETE, deleted=True)
        assert await driver.everything() == before
    finally:
        await driver.sql("DROP FUNCTION refuse CASCADE")
    await driver.done(deletion, OperationKind.DELETE, deleted=True)
    assert await driver.charges(admission.members[0].instance.id) == {}
    row = await driver.instance(admission.members[0].instance.id)
    assert (row["deleted"], row["status"], await driver.resources(admission.members[0].instance.id)) == (
        True,
        "SHUTDOWN",
        {},
    )
    assert row["deleted_at"] is not None


async def test_a_failed_creation_gives_its_quota_back_and_names_no_resource(driver: Driver) -> None:
    admission = await building(driver)
    await driver.note(admission, begins="a", learnt=LEARNT)
    await driver.close(admission, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no host")
    assert await driver.charges(admission.members[0].instance.id) == {}
    row = await driver.instance(admission.members[0].instance.id)
    assert (row["status"], row["deleted"], row["addresses"]) == ("ERROR", False, [])
    assert await driver.resources(admission.members[0].instance.id) == {}


async def test_a_settled_creation_gives_its_quota_back(driver: Driver) -> None:
    creation = await driver.creation()
    await driver.records.admit(creation)
    settled = await driver.records.admit(driver.request(OperationKind.SETTLE, creation.instance_id, creation.caller))
    await driver.close(settled, OperationState.DONE, status=InstanceStatus.ERROR, reason="interrupted")
    assert await driver.charges(creation.instance_id) == {}


async def test_a_failed_restart_keeps_its_quota_and_its_resources(driver: Driver) -> None:
    admission = await restarting(driver)
    await driver.note(admission, begins="a", learnt=LEARNT)
    await driver.close(admission, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no")
    assert len(await driver.charges(admission.members[0].instance.id)) == 3
    assert await driver.resources(admission.members[0].instance.id) == KNOWN


async def test_the_watch_writes_its_own_field_alone(driver: Driver, reader: Reader) -> None:
    admission = await building(driver)
    report = HealthReport(
        instance_id=admission.members[0].instance.id, operating_status=OperatingStatus.HEALTHY, volume_used_bytes=7
    )
    assert await driver.records.record_health(report) is False  # nothing was built that could be healthy
    assert (await driver.instance(admission.members[0].instance.id))["operating_status"] == ""
    await driver.note(admission, begins="a", learnt=LEARNT)
    assert await driver.records.record_health(report) is True
    silent = report.model_copy(update={"operating_status": OperatingStatus.ERROR, "volume_used_bytes": None})
    await driver.records.record_health(silent)
    view = await reader.get_instance(str(admission.members[0].instance.id), Scope(None))
    assert view is not None
    assert (view.status, view.operating_status, view.volume_used_bytes) == ("BUILD", "ERROR", 7)
    await driver.close(admission, OperationState.DONE, status=None, deleted=True)
    assert await driver.records.record_health(report) is False
    assert (await driver.instance(admission.members[0].instance.id))["operating_status"] == ""
