"""An operation is admitted or withdrawn, never both, however the two meet; keys stand for one request."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from contract.domain.errors import Expired, Refused
from contract.domain.operation import OperationKind
from records.requests import Kept, Requests
from tests.records.runbook_driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("kind", [OperationKind.CREATE, OperationKind.RESTART, OperationKind.DELETE])
async def test_what_is_withdrawn_is_never_admitted(driver: Driver, kind: OperationKind) -> None:
    created = await driver.created()
    asked = await driver.creation() if kind is OperationKind.CREATE else driver.request(
        kind, created.instance_id, created.caller
    )  # fmt: skip
    assert await Requests(driver.engine).withdraw(asked.operation_id)
    assert await Requests(driver.engine).withdraw(asked.operation_id)
    before = await driver.everything()
    with pytest.raises(Expired):
        await driver.records.admit(asked)
    assert await driver.everything() == before


async def test_what_is_admitted_is_not_withdrawn(driver: Driver) -> None:
    asked = await driver.creation()
    admission = await driver.records.admit(asked)
    assert not await Requests(driver.engine).withdraw(asked.operation_id)
    assert await driver.records.admit(asked) == admission


@pytest.mark.parametrize("still_open", [True, False])
async def test_an_admission_under_way_is_waited_for(driver: Driver, still_open: bool) -> None:
    asked, requests = await driver.creation(), Requests(driver.engine)
    withdrawals: list[asyncio.Task[bool]] = []

    async def withdraw() -> None:
        withdrawals.append(asyncio.create_task(requests.withdraw(asked.operation_id)))
        await asyncio.sleep(0.5)
        assert not withdrawals[0].done()

    driver.runs.before_the_answer, driver.runs.open = withdraw, still_open
    if still_open:
        await driver.records.admit(asked)
    else:
        with pytest.raises(Refused):
            await driver.records.admit(asked)
    driver.runs.before_the_answer, driver.runs.open = None, True
    assert await withdrawals[0] is not still_open
    assert bool(await driver.operation(asked.operation_id)) is still_open


async def test_an_order_that_expires_while_it_is_admitted_is_refused(driver: Driver) -> None:
    asked = await driver.creation(expires_at=datetime.now(UTC) + timedelta(seconds=0.5))

    async def wait() -> None:
        await asyncio.sleep(0.7)

    driver.runs.before_the_answer = wait
    with pytest.raises(Expired):
        await driver.records.admit(asked)
    driver.runs.before_the_answer = None
    assert await driver.instance(asked.instance_id) == {}


async def test_a_transaction_whose_worker_stands_still_ends(driver: Driver) -> None:
    """It holds locks that others wait for, and might commit when everybody has been told that it did not happen."""
    asked = await driver.creation()

    async def stand_still() -> None:
        await asyncio.sleep(4)

    driver.runs.before_the_answer = stand_still
    with pytest.raises(Exception, match=r"idle-in-transaction|terminating|closed"):
        await driver.records.admit(asked)
    driver.runs.before_the_answer = None
    assert await Requests(driver.engine).withdraw(asked.operation_id)


async def test_many_at_once_are_one_or_the_other(driver: Driver) -> None:
    for _ in range(20):
        asked = await driver.creation()
        withdrawn, admitted = await asyncio.gather(
            Requests(driver.engine).withdraw(asked.operation_id), driver.records.admit(asked), return_exceptions=True
        )
        assert withdrawn is isinstance(admitted, Expired)
        assert bool(await driver.operation(asked.operation_id)) is not withdrawn


async def test_a_key_stands_for_what_it_first_stood_for(driver: Driver) -> None:
    requests, project = Requests(driver.engine), str(uuid4())
    wanted = [Kept("c:1", str(number), uuid4()) for number in range(8)]
    kept = await asyncio.gather(*(requests.remember(project, "key:a", each) for each in wanted))
    assert len(set(kept)) == 1
    assert kept[0] in wanted
    other = Kept("c:1", "other", uuid4())
    assert await requests.remember(project, "key:b", other) == other
    assert await requests.remember("another project", "key:a", other) == other
    await requests.forget(project, "key:a")
    assert await requests.remember(project, "key:a", other) == other


async def test_what_is_older_than_a_day_is_forgotten(driver: Driver) -> None:
    requests, operation_id = Requests(driver.engine), uuid4()
    old, new = Kept("c:1", "old", uuid4()), Kept("c:1", "new", uuid4())
    await requests.remember("p", "key:old", old)
    await requests.withdraw(operation_id)
    for table in ("withdrawals", "idempotency_keys"):
        await driver.sql(f"UPDATE {table} SET noted = noted - interval '25 hours'")
    assert await requests.remember("p", "key:old", new) == new
    await requests.withdraw(uuid4())
    assert await driver.sql("SELECT 1 FROM withdrawals WHERE operation_id = :id", id=operation_id) == []
