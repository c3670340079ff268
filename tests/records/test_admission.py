"""Admission: one transaction opens the operation, or refuses it and touches nothing."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from contract.domain.errors import BadRequest, Busy, Expired, NotFound, QuotaExceeded, Refused
from contract.domain.instance import InstanceStatus
from contract.domain.operation import AdmissionRequest, Caller, OperationKind, OperationState
from records.reads import Reader
from tests.records.runbook_driver import Driver


async def refused(driver: Driver, request: AdmissionRequest, why: type[Refused], sentence: str) -> None:
    """The request is refused with exactly this error, and no row has changed."""
    before = await driver.everything()
    with pytest.raises(why, match=sentence) as error:
        await driver.records.admit(request)
    assert error.type is why
    assert await driver.everything() == before


async def test_a_creation_is_admitted(driver: Driver) -> None:
    request = await driver.creation(volume_gib=3)
    admission = await driver.records.admit(request)
    assert (admission.operation_id, admission.fence, admission.members[0].interrupted) == (
        request.operation_id,
        1,
        None,
    )
    (member,) = admission.members
    assert (member.instance.id, member.instance.status) == (request.instance_id, InstanceStatus.BUILD)
    assert member.instance.version == request.spec.version
    assert (await driver.instance(request.instance_id))["status"] == "BUILD"
    assert await driver.charges(request.instance_id) == {"instances": 1, "volumes": 3, "ram": 512}
    row = await driver.operation(request.operation_id)
    assert (row["kind"], row["state"], row["user_id"], row["request_id"]) == ("create", "RUNNING", "amy", "req-1")
    assert (row["workflow_id"], row["run_id"]) == (request.workflow_id, request.run_id)
    assert driver.runs.asked == [(request.workflow_id, request.run_id)]


async def test_asked_again_it_repeats_its_answer(driver: Driver) -> None:
    """A retried admission must not meet its own status, its own charge or its own lock."""
    request = await driver.creation()
    first = await driver.records.admit(request)
    before = await driver.everything()
    assert await driver.records.admit(request) == first
    late = request.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(hours=1)})
    assert await driver.records.admit(late) == first
    assert await driver.everything() == before


async def test_asked_again_it_repeats_what_it_has_to_put_right(driver: Driver) -> None:
    created = await driver.created()
    await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    settle = driver.request(OperationKind.SETTLE, created.instance_id, created.caller)
    first = await driver.records.admit(settle)
    assert first.members[0].interrupted is OperationKind.RESTART
    assert await driver.records.admit(settle) == first


async def test_asked_again_after_its_end_it_is_refused(driver: Driver) -> None:
    request = await driver.created()
    await refused(driver, request, Refused, f"operation {request.operation_id} has ended: DONE")


async def test_the_id_of_another_operation_opens_nothing(driver: Driver) -> None:
    """Whoever asks has chosen the id: it must not open another instance, another kind or another run's door."""
    running = await driver.creation()
    await driver.records.admit(running)
    other = await driver.created()
    before = await driver.everything()
    for request in (
        driver.request(OperationKind.RESTART, other.instance_id, other.caller, operation_id=running.operation_id),
        driver.request(OperationKind.DELETE, running.instance_id, running.caller, operation_id=running.operation_id),
        running.model_copy(update={"run_id": "another", "first_execution_run_id": "another"}),
    ):
        await refused(
            driver, request, Refused, f"operation {running.operation_id} is another one: its id cannot be used twice"
        )
    assert await driver.everything() == before


@pytest.mark.parametrize("status", ["BUILD", "SHUTDOWN"])
async def test_an_instance_in_another_state_is_busy(driver: Driver, status: str) -> None:
    created = await driver.created()
    await driver.sql("UPDATE instances SET status = :status WHERE id = :id", status=status, id=created.instance_id)
    restart = driver.request(OperationKind.RESTART, created.instance_id, created.caller)
    await refused(driver, restart, Busy, f"not currently available .* \\(instance status was {status}\\)")


@pytest.mark.parametrize("status", ["ACTIVE", "RESTART_REQUIRED", "ERROR", "REBOOT", "BACKUP"])
async def test_an_instance_that_may_be_restarted_is(driver: Driver, status: str) -> None:
    created = await driver.created()
    await driver.sql("UPDATE instances SET status = :status WHERE id = :id", status=status, id=created.instance_id)
    restart = driver.request(OperationKind.RESTART, created.instance_id, created.caller)
    admission = await driver.records.admit(restart)
    # the answer tells what the restart found, the record what it does
    assert admission.members[0].instance.status == status
    assert (await driver.instance(created.instance_id))["status"] == "REBOOT"


async def test_what_does_not_exist_is_not_found(driver: Driver) -> None:
    for kind in (OperationKind.DELETE, OperationKind.RESTART, OperationKind.SETTLE):
        request = driver.request(kind, uuid4(), Caller(project_id="p"))
        await refused(driver, request, NotFound, f"Resource {request.instance_id} cannot be found.")


async def test_what_is_deleted_is_not_found(driver: Driver) -> None:
    created = await driver.created()
    deletion = driver.request(OperationKind.DELETE, created.instance_id, created.caller)
    await driver.done(await driver.records.admit(deletion), OperationKind.DELETE, deleted=True)
    again = driver.request(OperationKind.DELETE, created.instance_id, created.caller)
    await refused(driver, again, NotFound, "cannot be found")


async def test_the_instance_of_another_project_is_not_found(driver: Driver) -> None:
    created = await driver.created()
    for kind in (OperationKind.DELETE, OperationKind.RESTART):
        request = driver.request(kind, created.instance_id, Caller(project_id="another"))
        await refused(driver, request, NotFound, f"Resource {created.instance_id} cannot be found.")


async def test_an_asker_of_another_project_ends_nothing(driver: Driver) -> None:
    """Not even an operation that is stale."""
    created = await driver.created()
    running = await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    request = driver.request(OperationKind.DELETE, created.instance_id, Caller(project_id="another"))
    await refused(driver, request, NotFound, "cannot be found")
    assert (await driver.operation(running.operation_id))["state"] == "RUNNING"


async def test_an_administrator_works_in_the_project_of_the_instance(driver: Driver) -> None:
    created = await driver.created()
    request = driver.request(OperationKind.RESTART, created.instance_id, Caller(project_id="another", is_admin=True))
    await driver.records.admit(request)
    assert (await driver.operation(request.operation_id))["project_id"] == created.caller.project_id


async def test_the_lock_must_be_that_of_the_instances_group(driver: Driver) -> None:
    mine, other = await driver.created("p-of-groups"), await driver.created("p-of-groups")
    request = driver.request(OperationKind.RESTART, mine.instance_id, mine.caller, group_id=other.instance_id)
    await refused(driver, request, Refused, f"belongs to group {mine.instance_id}")


async def test_nobody_waits_any_more(driver: Driver) -> None:
    past, future = datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC) + timedelta(minutes=1)
    await refused(driver, await driver.creation(expires_at=past), Expired, "nobody waits for this operation any more")
    in_time = await driver.creation(expires_at=future)
    assert (await driver.records.admit(in_time)).fence == 1


async def test_a_refused_quota_names_every_resource(driver: Driver) -> None:
    request = await driver.creation(volume_gib=5)
    project = request.caller.project_id
    ceilings = {"instances": 0, "volumes": 4, "ram": 511}
    for resource, ceiling in ceilings.items():
        await driver.sql("INSERT INTO quotas VALUES (:project, :resource, :ceiling)", project=project,
                       resource=resource, ceiling=ceiling)  # fmt: skip
    everything = r"Quota exceeded for resources: \['instances', 'ram', 'volumes'\]\.$"
    await refused(driver, request, QuotaExceeded, everything)
    await driver.sql("UPDATE quotas SET ceiling = 1 WHERE project_id = :p AND resource = 'instances'", p=project)
    await refused(driver, request, QuotaExceeded, r"Quota exceeded for resources: \['ram', 'volumes'\]\.$")
    await driver.sql("UPDATE quotas SET ceiling = 512 WHERE project_id = :p AND resource = 'ram'", p=project)
    await refused(driver, request, QuotaExceeded, r"Quota exceeded for resources: \['volumes'\]\.$")
    await driver.sql("UPDATE quotas SET ceiling = 5 WHERE project_id = :p AND resource = 'volumes'", p=project)
    await driver.records.admit(request)


async def test_an_instance_is_created_once(driver: Driver) -> None:
    created = await driver.created()
    again = created.model_copy(update={"operation_id": uuid4()})
    await refused(driver, again, Refused, "exists already")


async def test_a_version_that_was_switched_off_meanwhile_is_refused(driver: Driver) -> None:
    request = await driver.creation()
    await driver.sql("UPDATE datastore_versions SET active = false")
    await refused(driver, request, BadRequest, "Datastore version '15' is not active.")


async def test_fence_numbers_rise_in_each_group_by_itself(driver: Driver) -> None:
    one, other = await driver.created(), await driver.created()
    fences = []
    for _ in range(3):
        request = driver.request(OperationKind.RESTART, one.instance_id, one.caller)
        admission = await driver.records.admit(request)
        await driver.done(admission, OperationKind.RESTART)
        fences.append(admission.fence)
    assert fences == [2, 3, 4]
    restart = driver.request(OperationKind.RESTART, other.instance_id, other.caller)
    assert (await driver.records.admit(restart)).fence == 2


async def test_a_refused_admission_uses_up_no_number_that_is_given_again(driver: Driver) -> None:
    created = await driver.created()
    driver.runs.open = False
    with pytest.raises(Refused):
        await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    driver.runs.open = True
    admission = await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    assert admission.fence == 2


async def test_a_stale_operation_is_closed_as_interrupted(driver: Driver) -> None:
    created = await driver.created()
    stale = await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    await driver.note(stale, begins="stop datastore")
    deletion = driver.request(OperationKind.DELETE, created.instance_id, created.caller)
    admission = await driver.records.admit(deletion)
    assert (admission.fence, admission.members[0].interrupted) == (3, OperationKind.RESTART)
    row = await driver.operation(stale.operation_id)
    assert (row["state"], row["reason"]) == ("INTERRUPTED", "the run was ended from outside")
    assert row["finished"] is not None
    steps = await driver.sql("SELECT * FROM operation_steps WHERE operation_id = :id", id=stale.operation_id)
    assert [(each["outcome"], each["finished"] is None) for each in steps] == [("INTERRUPTED", False)]
    assert (await driver.member(admission.operation_id))["interrupted"] == "restart"


async def test_what_was_interrupted_is_still_known_when_its_settling_is_interrupted(driver: Driver) -> None:
    creation = await driver.creation()
    await driver.records.admit(creation)
    for _ in range(2):
        settle = driver.request(OperationKind.SETTLE, creation.instance_id, creation.caller)
        assert (await driver.records.admit(settle)).members[0].interrupted is OperationKind.CREATE


async def test_there_is_nothing_to_settle_where_nothing_was_interrupted(driver: Driver) -> None:
    created = await driver.created()
    settle = driver.request(OperationKind.SETTLE, created.instance_id, created.caller)
    await refused(driver, settle, Refused, "there is nothing to settle")


async def test_a_creation_that_makes_way_for_a_deletion_is_cancelled(driver: Driver) -> None:
    creation = await driver.creation()
    await driver.records.admit(creation)
    deletion = driver.request(
        OperationKind.DELETE, creation.instance_id, creation.caller,
        run_id=creation.run_id, first_execution_run_id=creation.first_execution_run_id,
    )  # fmt: skip
    admission = await driver.records.admit(deletion)
    assert (admission.fence, admission.members[0].interrupted) == (2, None)
    row = await driver.operation(creation.operation_id)
    assert (row["state"], row["reason"]) == ("CANCELLED", "the instance is being deleted")
    assert (await driver.instance(creation.instance_id))["status"] == "SHUTDOWN"


async def test_nothing_is_committed_when_the_asking_run_has_ended(driver: Driver) -> None:
    created = await driver.created()
    stale = await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    driver.runs.open = False
    ended = "the run that asked for this admission has ended"
    await refused(driver, await driver.creation(), Refused, ended)
    for kind in (OperationKind.DELETE, OperationKind.SETTLE):
        await refused(driver, driver.request(kind, created.instance_id, created.caller), Refused, ended)
    assert (await driver.operation(stale.operation_id))["state"] == "RUNNING"


async def test_temporal_is_asked_while_the_group_is_locked(driver: Driver) -> None:
    """An answer from before the lock would be worth nothing: the run may end while the admission waits for it."""
    created = await driver.created()
    unlocked: list[int] = []

    async def look() -> None:
        rows = await driver.sql("SELECT id FROM groups WHERE id = :id FOR UPDATE SKIP LOCKED", id=created.instance_id)
        unlocked.append(len(rows))

    await look()
    driver.runs.before_the_answer = look
    await driver.records.admit(driver.request(OperationKind.RESTART, created.instance_id, created.caller))
    assert unlocked == [1, 0]


async def test_an_answer_that_does_not_come_leaves_nothing(driver: Driver) -> None:
    """Temporal is away while it is asked: the activity fails, and is tried again."""
    request = await driver.creation()

    async def away() -> None:
        raise ConnectionError("the test")

    before = await driver.everything()
    driver.runs.before_the_answer = away
    with pytest.raises(ConnectionError):
        await driver.records.admit(request)
    assert await driver.everything() == before
    driver.runs.before_the_answer = None
    assert (await driver.records.admit(request)).fence == 1


async def test_of_two_at_once_in_a_group_the_second_closes_the_first(driver: Driver, reader: Reader) -> None:
    """The lock is Temporal's: whoever asks later has it now, and what the records hold for open is stale."""
    created = await driver.created()
    requests = [driver.request(OperationKind.DELETE, created.instance_id, created.caller) for _ in range(5)]
    admissions = await asyncio.gather(*(driver.records.admit(each) for each in requests))
    assert sorted(each.fence for each in admissions) == [2, 3, 4, 5, 6]
    last = max(admissions, key=lambda each: each.fence)
    operations = await reader.list_operations(created.instance_id)
    assert [each.id for each in operations if each.state == "RUNNING"] == [last.operation_id]
    states = [each.state for each in operations]
    assert states.count(OperationState.INTERRUPTED.value) == 4


@pytest.mark.parametrize(
    "forged",
    [{"image": "mine"}, {"image_tags": ("mine",)}, {"manager": "mariadb"}, {"number": "99"}, {"name": "other"},
     {"datastore": "mariadb"}, {"datastore_id": uuid4()}],
    ids=lambda each: next(iter(each)),
)  # fmt: skip
async def test_a_version_must_be_what_the_catalogue_says_of_it(driver: Driver, forged: dict[str, Any]) -> None:
    """Whoever orders may have resolved the version, and it decides which image is booted."""
    request = await driver.creation()
    assert request.spec.version is not None
    version = request.spec.version.model_copy(update=forged)
    await refused(driver, request.changed(version=version), BadRequest, "is not what the catalogue says of it")
