"""Admission: one transaction opens the operation, or refuses it and touches nothing."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from records.reads import Reader
from tests.records.desk import Desk
from workflows.domain.errors import BadRequest, Busy, Expired, NotFound, QuotaExceeded, Refused
from workflows.domain.instance import InstanceStatus
from workflows.domain.operation import AdmissionRequest, Caller, OperationKind, OperationState


async def refused(desk: Desk, request: AdmissionRequest, why: type[Refused], sentence: str) -> None:
    """The request is refused with exactly this error, and no row has changed."""
    before = await desk.everything()
    with pytest.raises(why, match=sentence) as error:
        await desk.records.admit(request)
    assert error.type is why
    assert await desk.everything() == before


async def test_a_creation_is_admitted(desk: Desk) -> None:
    request = await desk.creation(volume_gib=3)
    admission = await desk.records.admit(request)
    assert (admission.operation_id, admission.fence, admission.interrupted) == (request.operation_id, 1, None)
    assert (admission.instance.id, admission.instance.status) == (request.instance_id, InstanceStatus.BUILD)
    assert request.spec is not None
    assert admission.instance.version == request.spec.version
    assert (await desk.instance(request.instance_id))["status"] == "BUILD"
    assert await desk.charges(request.instance_id) == {"instances": 1, "volumes": 3, "ram": 512}
    row = await desk.operation(request.operation_id)
    assert (row["kind"], row["state"], row["user_id"], row["request_id"]) == ("create", "RUNNING", "amy", "req-1")
    assert (row["workflow_id"], row["run_id"]) == (request.workflow_id, request.run_id)
    assert desk.runs.asked == [(request.workflow_id, request.run_id)]


async def test_asked_again_it_repeats_its_answer(desk: Desk) -> None:
    """A retried admission must not meet its own status, its own charge or its own lock."""
    request = await desk.creation()
    first = await desk.records.admit(request)
    before = await desk.everything()
    assert await desk.records.admit(request) == first
    late = request.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(hours=1)})
    assert await desk.records.admit(late) == first
    assert await desk.everything() == before


async def test_asked_again_it_repeats_what_it_has_to_put_right(desk: Desk) -> None:
    created = await desk.created()
    await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))
    settle = desk.request(OperationKind.SETTLE, created.instance_id, created.caller)
    first = await desk.records.admit(settle)
    assert first.interrupted is OperationKind.RESTART
    assert await desk.records.admit(settle) == first


async def test_asked_again_after_its_end_it_is_refused(desk: Desk) -> None:
    request = await desk.created()
    await refused(desk, request, Refused, f"operation {request.operation_id} has ended: DONE")


async def test_the_id_of_another_operation_opens_nothing(desk: Desk) -> None:
    """Whoever asks has chosen the id: it must not open another instance, another kind or another run's door."""
    running = await desk.creation()
    await desk.records.admit(running)
    other = await desk.created()
    before = await desk.everything()
    for request in (
        desk.request(OperationKind.RESTART, other.instance_id, other.caller, operation_id=running.operation_id),
        desk.request(OperationKind.DELETE, running.instance_id, running.caller, operation_id=running.operation_id),
        running.model_copy(update={"run_id": "another", "first_execution_run_id": "another"}),
    ):
        await refused(
            desk, request, Refused, f"operation {running.operation_id} is another one: its id cannot be used twice"
        )
    assert await desk.everything() == before


@pytest.mark.parametrize("status", ["BUILD", "SHUTDOWN"])
async def test_an_instance_in_another_state_is_busy(desk: Desk, status: str) -> None:
    created = await desk.created()
    await desk.sql("UPDATE instances SET status = :status WHERE id = :id", status=status, id=created.instance_id)
    restart = desk.request(OperationKind.RESTART, created.instance_id, created.caller)
    await refused(desk, restart, Busy, f"not currently available .* \\(instance status was {status}\\)")


@pytest.mark.parametrize("status", ["ACTIVE", "RESTART_REQUIRED", "ERROR", "REBOOT", "BACKUP"])
async def test_an_instance_that_may_be_restarted_is(desk: Desk, status: str) -> None:
    created = await desk.created()
    await desk.sql("UPDATE instances SET status = :status WHERE id = :id", status=status, id=created.instance_id)
    restart = desk.request(OperationKind.RESTART, created.instance_id, created.caller)
    admission = await desk.records.admit(restart)
    # the answer tells what the restart found, the record what it does
    assert admission.instance.status == status
    assert (await desk.instance(created.instance_id))["status"] == "REBOOT"


async def test_what_does_not_exist_is_not_found(desk: Desk) -> None:
    for kind in (OperationKind.DELETE, OperationKind.RESTART, OperationKind.SETTLE):
        request = desk.request(kind, uuid4(), Caller(project_id="p"))
        await refused(desk, request, NotFound, f"Resource {request.instance_id} cannot be found.")


async def test_what_is_deleted_is_not_found(desk: Desk) -> None:
    created = await desk.created()
    deletion = desk.request(OperationKind.DELETE, created.instance_id, created.caller)
    await desk.done(await desk.records.admit(deletion), OperationKind.DELETE, deleted=True)
    again = desk.request(OperationKind.DELETE, created.instance_id, created.caller)
    await refused(desk, again, NotFound, "cannot be found")


async def test_the_instance_of_another_project_is_not_found(desk: Desk) -> None:
    created = await desk.created()
    for kind in (OperationKind.DELETE, OperationKind.RESTART):
        request = desk.request(kind, created.instance_id, Caller(project_id="another"))
        await refused(desk, request, NotFound, f"Resource {created.instance_id} cannot be found.")


async def test_an_asker_of_another_project_ends_nothing(desk: Desk) -> None:
    """Not even an operation that is stale."""
    created = await desk.created()
    running = await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))
    request = desk.request(OperationKind.DELETE, created.instance_id, Caller(project_id="another"))
    await refused(desk, request, NotFound, "cannot be found")
    assert (await desk.operation(running.operation_id))["state"] == "RUNNING"


async def test_an_administrator_works_in_the_project_of_the_instance(desk: Desk) -> None:
    created = await desk.created()
    request = desk.request(OperationKind.RESTART, created.instance_id, Caller(project_id="another", is_admin=True))
    await desk.records.admit(request)
    assert (await desk.operation(request.operation_id))["project_id"] == created.caller.project_id


async def test_the_lock_must_be_that_of_the_instances_group(desk: Desk) -> None:
    mine, other = await desk.created("p-of-groups"), await desk.created("p-of-groups")
    request = desk.request(OperationKind.RESTART, mine.instance_id, mine.caller, group_id=other.instance_id)
    await refused(desk, request, Refused, f"belongs to group {mine.instance_id}")


async def test_nobody_waits_any_more(desk: Desk) -> None:
    past, future = datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC) + timedelta(minutes=1)
    await refused(desk, await desk.creation(expires_at=past), Expired, "nobody waits for this operation any more")
    in_time = await desk.creation(expires_at=future)
    assert (await desk.records.admit(in_time)).fence == 1


async def test_a_refused_quota_names_every_resource(desk: Desk) -> None:
    request = await desk.creation(volume_gib=5)
    project = request.caller.project_id
    ceilings = {"instances": 0, "volumes": 4, "ram": 511}
    for resource, ceiling in ceilings.items():
        await desk.sql("INSERT INTO quotas VALUES (:project, :resource, :ceiling)", project=project,
                       resource=resource, ceiling=ceiling)  # fmt: skip
    everything = r"Quota exceeded for resources: \['instances', 'ram', 'volumes'\]\.$"
    await refused(desk, request, QuotaExceeded, everything)
    await desk.sql("UPDATE quotas SET ceiling = 1 WHERE project_id = :p AND resource = 'instances'", p=project)
    await refused(desk, request, QuotaExceeded, r"Quota exceeded for resources: \['ram', 'volumes'\]\.$")
    await desk.sql("UPDATE quotas SET ceiling = 512 WHERE project_id = :p AND resource = 'ram'", p=project)
    await refused(desk, request, QuotaExceeded, r"Quota exceeded for resources: \['volumes'\]\.$")
    await desk.sql("UPDATE quotas SET ceiling = 5 WHERE project_id = :p AND resource = 'volumes'", p=project)
    await desk.records.admit(request)


async def test_an_instance_is_created_once(desk: Desk) -> None:
    created = await desk.created()
    again = created.model_copy(update={"operation_id": uuid4()})
    await refused(desk, again, Refused, "exists already")


async def test_a_version_that_was_switched_off_meanwhile_is_refused(desk: Desk) -> None:
    request = await desk.creation()
    await desk.sql("UPDATE datastore_versions SET active = false")
    await refused(desk, request, BadRequest, "Datastore version '15' is not active.")


async def test_fence_numbers_rise_in_each_group_by_itself(desk: Desk) -> None:
    one, other = await desk.created(), await desk.created()
    fences = []
    for _ in range(3):
        request = desk.request(OperationKind.RESTART, one.instance_id, one.caller)
        admission = await desk.records.admit(request)
        await desk.done(admission, OperationKind.RESTART)
        fences.append(admission.fence)
    assert fences == [2, 3, 4]
    restart = desk.request(OperationKind.RESTART, other.instance_id, other.caller)
    assert (await desk.records.admit(restart)).fence == 2


async def test_a_refused_admission_uses_up_no_number_that_is_given_again(desk: Desk) -> None:
    created = await desk.created()
    desk.runs.open = False
    with pytest.raises(Refused):
        await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))
    desk.runs.open = True
    admission = await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))
    assert admission.fence == 2


async def test_a_stale_operation_is_closed_as_interrupted(desk: Desk) -> None:
    created = await desk.created()
    stale = await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))
    await desk.note(stale, begins="stop datastore")
    deletion = desk.request(OperationKind.DELETE, created.instance_id, created.caller)
    admission = await desk.records.admit(deletion)
    assert (admission.fence, admission.interrupted) == (3, OperationKind.RESTART)
    row = await desk.operation(stale.operation_id)
    assert (row["state"], row["reason"]) == ("INTERRUPTED", "the run was ended from outside")
    assert row["finished"] is not None
    steps = await desk.sql("SELECT * FROM operation_steps WHERE operation_id = :id", id=stale.operation_id)
    assert [(each["outcome"], each["finished"] is None) for each in steps] == [("INTERRUPTED", False)]
    assert (await desk.operation(admission.operation_id))["interrupted"] == "restart"


async def test_what_was_interrupted_is_still_known_when_its_settling_is_interrupted(desk: Desk) -> None:
    creation = await desk.creation()
    await desk.records.admit(creation)
    for _ in range(2):
        settle = desk.request(OperationKind.SETTLE, creation.instance_id, creation.caller)
        assert (await desk.records.admit(settle)).interrupted is OperationKind.CREATE


async def test_there_is_nothing_to_settle_where_nothing_was_interrupted(desk: Desk) -> None:
    created = await desk.created()
    settle = desk.request(OperationKind.SETTLE, created.instance_id, created.caller)
    await refused(desk, settle, Refused, "there is nothing to settle")


async def test_a_creation_that_makes_way_for_a_deletion_is_cancelled(desk: Desk) -> None:
    creation = await desk.creation()
    await desk.records.admit(creation)
    deletion = desk.request(
        OperationKind.DELETE, creation.instance_id, creation.caller,
        run_id=creation.run_id, first_execution_run_id=creation.first_execution_run_id,
    )  # fmt: skip
    admission = await desk.records.admit(deletion)
    assert (admission.fence, admission.interrupted) == (2, None)
    row = await desk.operation(creation.operation_id)
    assert (row["state"], row["reason"]) == ("CANCELLED", "the instance is being deleted")
    assert (await desk.instance(creation.instance_id))["status"] == "SHUTDOWN"


async def test_nothing_is_committed_when_the_asking_run_has_ended(desk: Desk) -> None:
    created = await desk.created()
    stale = await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))
    desk.runs.open = False
    ended = "the run that asked for this admission has ended"
    await refused(desk, await desk.creation(), Refused, ended)
    for kind in (OperationKind.DELETE, OperationKind.SETTLE):
        await refused(desk, desk.request(kind, created.instance_id, created.caller), Refused, ended)
    assert (await desk.operation(stale.operation_id))["state"] == "RUNNING"


async def test_temporal_is_asked_while_the_group_is_locked(desk: Desk) -> None:
    """An answer from before the lock would be worth nothing: the run may end while the admission waits for it."""
    created = await desk.created()
    unlocked: list[int] = []

    async def look() -> None:
        rows = await desk.sql("SELECT id FROM groups WHERE id = :id FOR UPDATE SKIP LOCKED", id=created.instance_id)
        unlocked.append(len(rows))

    await look()
    desk.runs.before_the_answer = look
    await desk.records.admit(desk.request(OperationKind.RESTART, created.instance_id, created.caller))
    assert unlocked == [1, 0]


async def test_an_answer_that_does_not_come_leaves_nothing(desk: Desk) -> None:
    """Temporal is away while it is asked: the activity fails, and is tried again."""
    request = await desk.creation()

    async def away() -> None:
        raise ConnectionError("the test")

    before = await desk.everything()
    desk.runs.before_the_answer = away
    with pytest.raises(ConnectionError):
        await desk.records.admit(request)
    assert await desk.everything() == before
    desk.runs.before_the_answer = None
    assert (await desk.records.admit(request)).fence == 1


async def test_of_two_at_once_in_a_group_the_second_closes_the_first(desk: Desk, reader: Reader) -> None:
    """The lock is Temporal's: whoever asks later has it now, and what the records hold for open is stale."""
    created = await desk.created()
    requests = [desk.request(OperationKind.DELETE, created.instance_id, created.caller) for _ in range(5)]
    admissions = await asyncio.gather(*(desk.records.admit(each) for each in requests))
    assert sorted(each.fence for each in admissions) == [2, 3, 4, 5, 6]
    last = max(admissions, key=lambda each: each.fence)
    running = await reader.open_operation(created.instance_id)
    assert running is not None
    assert running.id == last.operation_id
    states = [each.state for each in await reader.list_operations(created.instance_id)]
    assert states.count(OperationState.INTERRUPTED.value) == 4
