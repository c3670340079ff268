"""Whatever state an instance is in, its owner can go on from there; and what it is counts, not what it is called."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.domain.errors import Busy
from contract.domain.instance import HealthReport, InstanceStatus, OperatingStatus
from contract.domain.operation import Caller, OperationKind, OperationState
from contract.ports.records import ResetStatus
from tests.records.runbook_driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATUSES = [each.value for each in InstanceStatus]
LAST = [("create", "FAILED"), ("create", "CANCELLED"), ("create", "DONE"), ("restart", "FAILED"), ("restart", "DONE"),
        ("delete", "FAILED"), ("settle", "FAILED"), ("settle", "DONE")]  # fmt: skip
STATES = st.fixed_dictionaries({
    "status": st.sampled_from(STATUSES),
    "operating_status": st.sampled_from([each.value for each in OperatingStatus]),
    "server": st.sampled_from([None, "s"]),
    "last": st.sampled_from(LAST),
    "open": st.sampled_from([None, "create", "restart", "delete", "settle"]),
})  # fmt: skip


async def put(driver: Driver, state: dict[str, Any]) -> tuple[UUID, Caller]:
    """An instance in this state: its last operation, and one that is open though its run has ended."""
    created = await driver.created()
    await driver.sql(
        "UPDATE instances SET status = :status, operating_status = :operating_status,"
        " fault_message = 'no more volumes' WHERE id = :id",
        id=created.instance_id, **{name: state[name] for name in ("status", "operating_status")},
    )  # fmt: skip
    await driver.sql("UPDATE resources SET id = :server WHERE instance_id = :id", id=created.instance_id,
                   server=state["server"])  # fmt: skip
    kind, how = state["last"]
    await driver.sql("UPDATE operations SET kind = :kind, state = :how WHERE group_id = :id", kind=kind, how=how,
                   id=created.instance_id)  # fmt: skip
    if state["open"]:
        operation_id = uuid4()
        await driver.sql(
            "INSERT INTO operations (id, kind, group_id, project_id, user_id, request_id, state, fence,"
            " workflow_id, run_id, first_execution_run_id) SELECT :id, :kind, group_id, project_id,"
            " user_id, request_id, 'RUNNING', 2, workflow_id, :run, :run FROM operations WHERE group_id = :of",
            id=operation_id, kind=state["open"], run=str(uuid4()), of=created.instance_id,
        )  # fmt: skip
        await driver.sql("INSERT INTO operation_members VALUES (:id, :of)", id=operation_id, of=created.instance_id)
        await driver.sql("UPDATE groups SET fence = 2 WHERE id = :id", id=created.instance_id)
    return created.instance_id, created.caller


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES)
async def test_a_deletion_is_admitted_in_every_state(driver: Driver, state: dict[str, Any]) -> None:
    instance_id, caller = await put(driver, state)
    admission = await driver.records.admit(driver.request(OperationKind.DELETE, instance_id, caller))
    await driver.close(admission, OperationState.DONE, deleted=True)
    assert (await driver.instance(instance_id))["deleted"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES)
async def test_a_restart_is_admitted_where_there_is_a_server(driver: Driver, state: dict[str, Any]) -> None:
    instance_id, caller = await put(driver, state)
    half_deleted = state["status"] == "ERROR" and (state["open"] or state["last"][0]) == "delete"
    has_server = state["server"] and not half_deleted and state["status"] not in ("BUILD", "SHUTDOWN")
    usable = has_server and state["open"] in (None, "restart")  # of what was interrupted it puts right a restart alone
    before = await driver.everything()
    restart = driver.request(OperationKind.RESTART, instance_id, caller)
    if usable:
        assert (await driver.records.admit(restart)).members[0].instance.id == instance_id
        return
    with pytest.raises(Busy) as refused:
        await driver.records.admit(restart)
    assert await driver.everything() == before  # the reason of the failure too
    if state["status"] not in ("BUILD", "SHUTDOWN"):
        assert ("is being put right" if has_server else "no more volumes") in str(refused.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES)
async def test_a_start_is_admitted_where_it_was_stopped_too(driver: Driver, state: dict[str, Any]) -> None:
    instance_id, caller = await put(driver, state)
    half_deleted = state["status"] in ("ERROR", "SHUTDOWN") and (state["open"] or state["last"][0]) == "delete"
    usable = state["server"] and not half_deleted and state["status"] != "BUILD" and state["open"] in (None, "restart")
    start = driver.request(OperationKind.START, instance_id, caller)
    if usable:
        assert (await driver.records.admit(start)).members[0].instance.id == instance_id
        return
    with pytest.raises(Busy):
        await driver.records.admit(start)


async def test_a_stopped_instance_is_not_reset(driver: Driver) -> None:
    state = {
        "status": "SHUTDOWN",
        "operating_status": "SHUTDOWN",
        "server": "s",
        "last": ("stop", "DONE"),
        "open": None,
    }
    instance_id, caller = await put(driver, state)
    await driver.records.reset_status(ResetStatus(instance_id=instance_id, caller=caller))
    assert (await driver.instance(instance_id))["status"] == "SHUTDOWN"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES, reset=st.booleans())
async def test_what_serves_is_active_again_as_soon_as_its_health_is_told(
    driver: Driver, state: dict[str, Any], reset: bool
) -> None:
    instance_id, caller = await put(driver, state)
    if reset:
        await driver.records.reset_status(ResetStatus(instance_id=instance_id, caller=caller))
    before = (await driver.instance(instance_id))["status"]
    await driver.records.record_health(HealthReport(instance_id=instance_id, operating_status=OperatingStatus.HEALTHY))
    row = await driver.instance(instance_id)
    if before == "ERROR" and state["server"] and not state["open"]:
        assert (row["status"], row["fault_message"]) == ("ACTIVE", None)
    else:
        assert row["status"] == before


@pytest.mark.parametrize("worse", ["ERROR", "FAILED", "RESTARTING", "SHUTDOWN", "BLOCKED"])
async def test_what_does_not_serve_stays_as_it_is(driver: Driver, worse: str) -> None:
    instance_id, _ = await put(driver, {"status": "ERROR", "operating_status": worse, "server": "s",
                                      "last": ("restart", "FAILED"), "open": None})  # fmt: skip
    await driver.records.record_health(
        HealthReport(instance_id=instance_id, operating_status=OperatingStatus(worse), seen=False)
    )
    row = await driver.instance(instance_id)
    assert (row["status"], row["fault_message"]) == ("ERROR", "no more volumes")


@pytest.mark.parametrize(
    ("kind", "state", "status", "kept"),
    [
        (OperationKind.RESTART, OperationState.FAILED, InstanceStatus.ACTIVE, "why"),
        (OperationKind.RESTART, OperationState.CANCELLED, InstanceStatus.ACTIVE, "no more volumes"),
        (OperationKind.RESTART, OperationState.DONE, InstanceStatus.ACTIVE, None),
        (OperationKind.DELETE, OperationState.FAILED, InstanceStatus.ERROR, "why"),
    ],
)
async def test_an_instance_says_what_its_last_operation_failed_of(
    driver: Driver, kind: OperationKind, state: OperationState, status: InstanceStatus, kept: str | None
) -> None:
    instance_id, caller = await put(driver, {"status": "ACTIVE", "operating_status": "HEALTHY", "server": "s",
                                           "last": ("create", "DONE"), "open": None})  # fmt: skip
    admission = await driver.records.admit(driver.request(kind, instance_id, caller))
    reason = None if state is OperationState.DONE else "why"
    await driver.close(admission, state, status=status, reason=reason)
    row = await driver.instance(instance_id)
    assert (row["status"], row["fault_message"]) == (status.value, kept)


@pytest.mark.parametrize("seen", [each.value for each in OperatingStatus])
@pytest.mark.parametrize("state", [OperationState.DONE, OperationState.FAILED, OperationState.CANCELLED])
async def test_what_was_seen_of_a_stop_ends_with_the_operation_that_stopped_and_started(
    driver: Driver, seen: str, state: OperationState
) -> None:
    instance_id, caller = await put(driver, {"status": "ACTIVE", "operating_status": "HEALTHY", "server": "s",
                                           "last": ("create", "DONE"), "open": None})  # fmt: skip
    admission = await driver.records.admit(driver.request(OperationKind.RESTART, instance_id, caller))
    await driver.records.record_health(HealthReport(instance_id=instance_id, operating_status=OperatingStatus(seen)))
    await driver.close(admission, state, status=InstanceStatus.ACTIVE)
    over = state is OperationState.DONE and seen in ("SHUTDOWN", "RESTARTING", "")
    assert (await driver.instance(instance_id))["operating_status"] == ("HEALTHY" if over else seen)
