"""Notes and the last word are taken from an open operation with its own number, and from nobody else."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from records.reads import Reader, Scope
from tests.records.desk import Desk
from workflows.domain.errors import FenceLost
from workflows.domain.instance import Address, HealthReport, InstanceStatus, OperatingStatus
from workflows.domain.operation import Admission, Caller, Learnt, OperationKind, OperationState

LEARNT = Learnt(server_id="s", volume_id="v", port_id="p", addresses=(Address(address="10.0.0.5", network="n"),))


async def building(desk: Desk) -> Admission:
    """An admitted creation."""
    return await desk.records.admit(await desk.creation())


async def restarting(desk: Desk) -> Admission:
    """An admitted restart of an instance that was built."""
    created = await desk.created()
    return await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))


async def steps_of(desk: Desk, operation_id: UUID) -> list[tuple[int, str, str | None]]:
    """Number, name and outcome."""
    rows = await desk.sql("SELECT * FROM operation_steps WHERE operation_id = :id ORDER BY number", id=operation_id)
    assert all((each["outcome"] is None) == (each["finished"] is None) for each in rows)
    return [(each["number"], each["name"], each["outcome"]) for each in rows]


async def lost(desk: Desk, admission: Admission, **changed: Any) -> None:
    """Neither a note nor a last word is taken, and no row has changed."""
    there = admission.model_copy(update=changed)
    before = await desk.everything()
    with pytest.raises(FenceLost):
        await desk.note(there, begins="late", learnt=LEARNT)
    with pytest.raises(FenceLost):
        await desk.close(there, OperationState.FAILED, status=InstanceStatus.ERROR, reason="late", deleted=True)
    assert await desk.everything() == before


async def test_one_note_ends_a_step_and_begins_the_next(desk: Desk) -> None:
    admission = await building(desk)
    await desk.note(admission, begins="create port")
    await desk.note(admission, ended="create port", begins="create volume", learnt=LEARNT)
    assert await steps_of(desk, admission.operation_id) == [(1, "create port", "DONE"), (2, "create volume", None)]
    row = await desk.instance(admission.instance.id)
    assert (row["server_id"], row["volume_id"], row["port_id"]) == ("s", "v", "p")
    assert row["addresses"] == [{"address": "10.0.0.5", "type": "private", "network": "n"}]


async def test_a_note_that_learnt_one_thing_leaves_the_others(desk: Desk) -> None:
    admission = await building(desk)
    await desk.note(admission, begins="a", learnt=LEARNT)
    await desk.note(admission, ended="a", begins="b", learnt=Learnt(server_id="another"))
    row = await desk.instance(admission.instance.id)
    assert (row["server_id"], row["volume_id"], len(row["addresses"])) == ("another", "v", 1)


async def test_a_repeated_note_changes_nothing(desk: Desk) -> None:
    admission = await building(desk)
    await desk.note(admission, begins="a")
    for note in ({"begins": "a"}, {"ended": "a", "begins": "b", "learnt": LEARNT}, {"ended": "b"}):
        await desk.note(admission, **note)
        before = await desk.everything()
        await desk.note(admission, **note)
        after = await desk.everything()
        for rows in (*before["instances"], *after["instances"]):
            rows.pop("updated")
        assert after == before


async def test_a_step_may_be_done_again_later(desk: Desk) -> None:
    admission = await building(desk)
    await desk.note(admission, begins="a")
    await desk.note(admission, ended="a", begins="b")
    await desk.note(admission, ended="b", begins="a")
    names = [(1, "a", "DONE"), (2, "b", "DONE"), (3, "a", None)]
    assert await steps_of(desk, admission.operation_id) == names


async def test_nothing_is_taken_under_another_number(desk: Desk) -> None:
    admission = await restarting(desk)
    await lost(desk, admission, fence=admission.fence - 1)
    await lost(desk, admission, fence=admission.fence + 1)
    await desk.note(admission, begins="stop datastore")


async def test_nothing_is_taken_for_an_operation_that_nobody_knows(desk: Desk) -> None:
    await lost(desk, await building(desk), operation_id=uuid4())


async def test_nothing_is_taken_after_another_operation_has_taken_over(desk: Desk) -> None:
    old = await restarting(desk)
    await desk.note(old, begins="stop datastore")
    deletion = desk.request(OperationKind.DELETE, old.instance.id, await _owner(desk, old))
    new = await desk.records.admit(deletion)
    await lost(desk, old)
    await desk.note(new, begins="end watch")
    await desk.done(new, OperationKind.DELETE, deleted=True)
    assert (await desk.instance(old.instance.id))["deleted"] is True


async def _owner(desk: Desk, admission: Admission) -> Caller:
    return Caller(project_id=(await desk.instance(admission.instance.id))["project_id"])


@pytest.mark.parametrize("state", [each for each in OperationState if each is not OperationState.RUNNING])
async def test_no_note_is_taken_after_the_last_word(desk: Desk, state: OperationState) -> None:
    admission = await restarting(desk)
    await desk.close(admission, state, status=InstanceStatus.ACTIVE)
    before = await desk.everything()
    with pytest.raises(FenceLost):
        await desk.note(admission, begins="late")
    assert await desk.everything() == before


async def test_the_last_word_ends_the_operation_and_its_step(desk: Desk) -> None:
    admission = await restarting(desk)
    await desk.note(admission, begins="stop datastore")
    await desk.close(admission, OperationState.FAILED, status=InstanceStatus.ERROR, reason="the engine does not stop")
    row = await desk.operation(admission.operation_id)
    assert (row["state"], row["reason"]) == ("FAILED", "the engine does not stop")
    assert row["finished"] is not None
    assert await steps_of(desk, admission.operation_id) == [(1, "stop datastore", "FAILED")]
    instance = await desk.instance(admission.instance.id)
    assert (instance["status"], instance["fault_message"]) == ("ERROR", "the engine does not stop")
    assert instance["fault_created"] is not None


async def test_a_good_end_takes_the_fault_away(desk: Desk) -> None:
    failed = await restarting(desk)
    await desk.close(failed, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no")
    caller = await _owner(desk, failed)
    again = await desk.records.admit(desk.request(OperationKind.RESTART, failed.instance.id, caller))
    await desk.done(again, OperationKind.RESTART)
    row = await desk.instance(failed.instance.id)
    assert (row["status"], row["fault_message"], row["fault_created"]) == ("ACTIVE", None, None)


@pytest.mark.parametrize("state", [each for each in OperationState if each is not OperationState.RUNNING])
async def test_the_same_last_word_twice_changes_nothing(desk: Desk, state: OperationState) -> None:
    admission = await restarting(desk)
    await desk.close(admission, state, status=InstanceStatus.ACTIVE, reason="why")
    before = await desk.everything()
    await desk.close(admission, state, status=InstanceStatus.ACTIVE, reason="why")
    assert await desk.everything() == before


async def test_a_second_word_that_says_otherwise_is_refused(desk: Desk) -> None:
    admission = await restarting(desk)
    await desk.close(admission, OperationState.DONE, status=InstanceStatus.ACTIVE)
    await lost(desk, admission)


async def test_the_repeated_last_word_of_a_deletion_gives_nothing_back_twice(desk: Desk, reader: Reader) -> None:
    """Whatever happens to come between: the charges are rows, and rows are deleted once."""
    project = f"p-{uuid4()}"
    doomed, kept = await desk.created(project), await desk.created(project)
    deletion = await desk.records.admit(desk.request(OperationKind.DELETE, doomed.instance_id, doomed.caller))
    for _ in range(3):
        await desk.done(deletion, OperationKind.DELETE, deleted=True)
    assert await desk.charges(kept.instance_id) == {"instances": 1, "volumes": 2, "ram": 512}
    used = {each.resource: each.in_use for each in await reader.list_quotas(project)}
    assert used == {"backups": 0, "instances": 1, "ram": 512, "volumes": 2}


async def test_deleted_gives_the_quota_back_in_the_same_transaction(desk: Desk) -> None:
    """Neither is there without the other: the transaction fails at its end, and both are as they were."""
    admission = await restarting(desk)
    caller = await _owner(desk, admission)
    deletion = await desk.records.admit(desk.request(OperationKind.DELETE, admission.instance.id, caller))
    await desk.sql("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the test refuses'; END $$
    """)
    await desk.sql("""
        CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON charges DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    before = await desk.everything()
    try:
        with pytest.raises(Exception, match="the test refuses"):
            await desk.done(deletion, OperationKind.DELETE, deleted=True)
        assert await desk.everything() == before
    finally:
        await desk.sql("DROP FUNCTION refuse CASCADE")
    await desk.done(deletion, OperationKind.DELETE, deleted=True)
    assert await desk.charges(admission.instance.id) == {}
    row = await desk.instance(admission.instance.id)
    assert (row["deleted"], row["status"], row["server_id"]) == (True, "SHUTDOWN", None)
    assert row["deleted_at"] is not None


async def test_a_failed_creation_gives_its_quota_back_and_names_no_resource(desk: Desk) -> None:
    admission = await building(desk)
    await desk.note(admission, begins="a", learnt=LEARNT)
    await desk.close(admission, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no host")
    assert await desk.charges(admission.instance.id) == {}
    row = await desk.instance(admission.instance.id)
    assert (row["status"], row["deleted"], row["server_id"], row["addresses"]) == ("ERROR", False, None, [])


async def test_a_settled_creation_gives_its_quota_back(desk: Desk) -> None:
    creation = await desk.creation()
    await desk.records.admit(creation)
    settled = await desk.records.admit(desk.request(OperationKind.SETTLE, creation.instance_id, creation.caller))
    await desk.close(settled, OperationState.DONE, status=InstanceStatus.ERROR, reason="interrupted")
    assert await desk.charges(creation.instance_id) == {}


async def test_a_failed_restart_keeps_its_quota_and_its_resources(desk: Desk) -> None:
    admission = await restarting(desk)
    await desk.note(admission, begins="a", learnt=LEARNT)
    await desk.close(admission, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no")
    assert len(await desk.charges(admission.instance.id)) == 3
    assert (await desk.instance(admission.instance.id))["server_id"] == "s"


async def test_the_watch_writes_its_own_field_alone(desk: Desk, reader: Reader) -> None:
    admission = await building(desk)
    report = HealthReport(
        instance_id=admission.instance.id, operating_status=OperatingStatus.HEALTHY, volume_used_bytes=7
    )
    await desk.records.record_health(report)  # nothing was built that could be healthy
    assert (await desk.instance(admission.instance.id))["operating_status"] == ""
    await desk.note(admission, begins="a", learnt=LEARNT)
    await desk.records.record_health(report)
    silent = report.model_copy(update={"operating_status": OperatingStatus.ERROR, "volume_used_bytes": None})
    await desk.records.record_health(silent)
    view = await reader.get_instance(str(admission.instance.id), Scope(None))
    assert view is not None
    assert (view.status, view.operating_status, view.volume_used_bytes) == ("BUILD", "ERROR", 7)
    await desk.close(admission, OperationState.DONE, status=None, deleted=True)
    await desk.records.record_health(report)
    assert (await desk.instance(admission.instance.id))["operating_status"] == ""
