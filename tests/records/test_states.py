"""Whatever state an instance is in, its owner can go on from there; and what it is counts, not what it is called."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.records.desk import Desk
from workflows.domain.errors import Busy
from workflows.domain.instance import HealthReport, InstanceStatus, OperatingStatus
from workflows.domain.operation import Caller, OperationKind, OperationState
from workflows.ports.records import ResetStatus

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


async def put(desk: Desk, state: dict[str, Any]) -> tuple[UUID, Caller]:
    """An instance in this state: its last operation, and one that is open though its run has ended."""
    created = await desk.created()
    await desk.sql(
        "UPDATE instances SET status = :status, operating_status = :operating_status, server_id = :server,"
        " fault_message = 'no more volumes' WHERE id = :id",
        id=created.instance_id, **{name: state[name] for name in ("status", "operating_status", "server")},
    )  # fmt: skip
    kind, how = state["last"]
    await desk.sql("UPDATE operations SET kind = :kind, state = :how WHERE instance_id = :id", kind=kind, how=how,
                   id=created.instance_id)  # fmt: skip
    if state["open"]:
        await desk.sql(
            "INSERT INTO operations (id, kind, instance_id, group_id, project_id, user_id, request_id, state, fence,"
            " workflow_id, run_id, first_execution_run_id) SELECT :id, :kind, instance_id, group_id, project_id,"
            " user_id, request_id, 'RUNNING', 2, workflow_id, :run, :run FROM operations WHERE instance_id = :of",
            id=uuid4(), kind=state["open"], run=str(uuid4()), of=created.instance_id,
        )  # fmt: skip
        await desk.sql("UPDATE groups SET fence = 2 WHERE id = :id", id=created.instance_id)
    return created.instance_id, created.caller


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES)
async def test_a_deletion_is_admitted_in_every_state(desk: Desk, state: dict[str, Any]) -> None:
    instance_id, caller = await put(desk, state)
    admission = await desk.records.admit(desk.request(OperationKind.DELETE, instance_id, caller))
    await desk.close(admission, OperationState.DONE, deleted=True)
    assert (await desk.instance(instance_id))["deleted"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES)
async def test_a_restart_is_admitted_where_there_is_a_server(desk: Desk, state: dict[str, Any]) -> None:
    instance_id, caller = await put(desk, state)
    half_deleted = state["status"] == "ERROR" and (state["open"] or state["last"][0]) == "delete"
    usable = state["server"] and not half_deleted and state["status"] not in ("BUILD", "SHUTDOWN")
    before = await desk.everything()
    restart = desk.request(OperationKind.RESTART, instance_id, caller)
    if usable:
        assert (await desk.records.admit(restart)).instance.id == instance_id
        return
    with pytest.raises(Busy) as refused:
        await desk.records.admit(restart)
    assert await desk.everything() == before  # the reason of the failure too
    if state["status"] not in ("BUILD", "SHUTDOWN"):
        assert "no more volumes" in str(refused.value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES, reset=st.booleans())
async def test_what_serves_is_active_again_as_soon_as_its_health_is_told(
    desk: Desk, state: dict[str, Any], reset: bool
) -> None:
    instance_id, caller = await put(desk, state)
    if reset:
        await desk.records.reset_status(ResetStatus(instance_id=instance_id, caller=caller))
    before = (await desk.instance(instance_id))["status"]
    await desk.records.record_health(HealthReport(instance_id=instance_id, operating_status=OperatingStatus.HEALTHY))
    row = await desk.instance(instance_id)
    if before == "ERROR" and state["server"] and not state["open"]:
        assert (row["status"], row["fault_message"]) == ("ACTIVE", None)
    else:
        assert row["status"] == before


@pytest.mark.parametrize("worse", ["ERROR", "FAILED", "RESTARTING", "SHUTDOWN", "BLOCKED"])
async def test_what_does_not_serve_stays_as_it_is(desk: Desk, worse: str) -> None:
    instance_id, _ = await put(desk, {"status": "ERROR", "operating_status": worse, "server": "s",
                                      "last": ("restart", "FAILED"), "open": None})  # fmt: skip
    await desk.records.record_health(
        HealthReport(instance_id=instance_id, operating_status=OperatingStatus(worse), seen=False)
    )
    row = await desk.instance(instance_id)
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
    desk: Desk, kind: OperationKind, state: OperationState, status: InstanceStatus, kept: str | None
) -> None:
    instance_id, caller = await put(desk, {"status": "ACTIVE", "operating_status": "HEALTHY", "server": "s",
                                           "last": ("create", "DONE"), "open": None})  # fmt: skip
    admission = await desk.records.admit(desk.request(kind, instance_id, caller))
    reason = None if state is OperationState.DONE else "why"
    await desk.close(admission, state, status=status, reason=reason)
    row = await desk.instance(instance_id)
    assert (row["status"], row["fault_message"]) == (status.value, kept)
