"""Who waits for the lock of a group: seen while it waits, admitted or withdrawn in the end, and ended by a deletion."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from contract.domain.errors import Expired, NotFound, Refused
from contract.domain.operation import Caller, OperationKind
from contract.ports.records import WaitingOrder
from records import waiting
from records.reads import Reader
from tests.records.runbook_driver import Asked, Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")


def waits(request: Asked, **changed: Any) -> WaitingOrder:
    """The request, told to wait."""
    values = {
        "kind": request.kind, "operation_id": request.operation_id, "members": (request.instance_id,),
        "group_id": request.group_id, "caller": request.caller, "until": datetime.now(UTC) + timedelta(minutes=1),
        "workflow_id": f"waiting/{request.operation_id}", "run_id": "run", "runbook": "RestartInstance", "order": {},
    }  # fmt: skip
    return WaitingOrder.model_validate(values | changed)


async def restart(driver: Driver) -> Asked:
    """A restart of an instance that serves."""
    created = await driver.created()
    return driver.request(OperationKind.RESTART, created.instance_id, created.caller)


async def keep(driver: Driver, order: WaitingOrder) -> bool:
    """Note it."""
    async with driver.engine.begin() as conn:
        return await waiting.keep(conn, order)


async def give_up(driver: Driver, order: WaitingOrder) -> bool:
    """End it."""
    async with driver.engine.begin() as conn:
        return await waiting.give_up(conn, order.operation_id)


async def seen(reader: Reader, request: Asked) -> list[tuple[str, str, str | None]]:
    """What the owner reads."""
    return [(each.kind, each.state, each.reason) for each in await reader.list_operations(request.instance_id)]


async def test_it_is_seen_with_what_it_waits_for(driver: Driver, reader: Reader) -> None:
    request = await restart(driver)
    order = waits(request)
    assert await keep(driver, order)
    assert (await seen(reader, request))[0] == ("restart", "WAITING", None)
    resize = driver.request(OperationKind.RESIZE_FLAVOR, request.instance_id, request.caller)
    await driver.records.admit(resize)
    assert await keep(driver, order)
    assert (await seen(reader, request))[:2] == [
        ("restart", "WAITING", "waiting for resize_flavor"), ("resize_flavor", "RUNNING", None)
    ]  # fmt: skip
    found = await reader.get_operation(order.operation_id, request.instance_id)
    assert found is not None
    assert (found.workflow_id, found.run_id, found.state) == (order.workflow_id, "run", "WAITING")
    assert await reader.get_operation(order.operation_id, uuid4()) is None


async def test_one_that_was_admitted_waits_no_more_and_cannot_be_given_up(driver: Driver, reader: Reader) -> None:
    request = await restart(driver)
    order = waits(request)
    assert await keep(driver, order)
    await driver.records.admit(request)
    assert not await keep(driver, order)
    assert not await give_up(driver, order)
    assert [each[1] for each in await seen(reader, request)] == ["RUNNING", "DONE"]


async def test_one_that_was_given_up_is_never_admitted(driver: Driver, reader: Reader) -> None:
    request = await restart(driver)
    order = waits(request)
    assert await keep(driver, order)
    assert await give_up(driver, order)
    with pytest.raises(Expired):
        await driver.records.admit(request)
    with pytest.raises(NotFound):
        await keep(driver, order)
    assert [each[1] for each in await seen(reader, request)] == ["DONE"]


async def test_a_deletion_ends_it(driver: Driver, reader: Reader) -> None:
    request, other = await restart(driver), await restart(driver)
    for each in (request, other):
        assert await keep(driver, waits(each))
    await driver.records.admit(driver.request(OperationKind.DELETE, request.instance_id, request.caller))
    with pytest.raises(NotFound, match="is being deleted"):
        await keep(driver, waits(request))
    assert [each[0] for each in await seen(reader, request)] == ["delete", "create"]
    assert (await seen(reader, other))[0][1] == "WAITING"


@pytest.mark.parametrize(
    ("changed", "why"),
    [({"caller": Caller(project_id="another")}, NotFound), ({"members": (uuid4(),)}, NotFound),
     ({"group_id": uuid4()}, Refused)],
    ids=["caller", "members", "group"],
)  # fmt: skip
async def test_nobody_waits_for_what_is_not_his(
    driver: Driver, reader: Reader, changed: dict[str, Any], why: type[Refused]
) -> None:
    request = await restart(driver)
    with pytest.raises(why):
        await keep(driver, waits(request, **changed))
    assert [each[1] for each in await seen(reader, request)] == ["DONE"]


async def test_one_whose_run_was_ended_is_not_seen_after_its_time(driver: Driver, reader: Reader) -> None:
    request, other = await restart(driver), await restart(driver)
    assert await keep(driver, waits(request, until=datetime.now(UTC) - timedelta(seconds=1)))
    assert [each[1] for each in await seen(reader, request)] == ["DONE"]
    assert await give_up(driver, waits(other))  # whoever comes next tidies up
    assert await driver.sql("SELECT * FROM waiting WHERE operation_id = :id", id=request.operation_id) == []
