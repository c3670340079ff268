"""Whatever process is away, each answer comes within ten seconds and is true: it is done, or it will never happen."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.client import Client

from api.operations import STUCK
from tests.api.conftest import PATIENCE, body, order, wait_for, wait_until_gone
from tests.stack import RunningStack
from tests.whole.away import away
from tests.whole.temporal_view import TemporalView

SECONDS = 10.0  # what is promised
AWAY = [
    ("temporal", "stopped"), ("temporal", "frozen"), ("workflow-worker", "stopped"), ("workflow-worker", "frozen"),
    ("activity-worker", "stopped"), ("activity-worker", "frozen"), ("postgresql", "stopped"), ("postgresql", "frozen"),
    ("gateway", "stopped"), ("gateway", "frozen"), ("keystone", "stopped"), ("keystone", "frozen"),
    ("localcloud", "frozen"),
]  # fmt: skip
PARTS = {"postgresql": "records", "workflow-worker": "workflow_worker", "activity-worker": "activity_worker"}
NOT_NEEDED = ("gateway", "localcloud")  # for the admission of a deletion


@pytest.fixture
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """A client with a token of its own."""
    with stack.api("demo") as client:
        yield client


@pytest.fixture(scope="module")
def instances(stack: RunningStack) -> Iterator[tuple[str, str]]:
    """Two instances that serve."""
    with stack.api("demo") as client:
        made = order(client, "not-away", "mariadb"), order(client, "not-deleted", "postgresql")
        for each in made:
            wait_for(client, each, "ACTIVE")
        yield made
        for each in made:
            client.delete(f"/instances/{each}")
        for each in made:
            wait_until_gone(client, each)


def asked(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    """An answer that came in time and is no success or a fault in Trove's format."""
    began = time.monotonic()
    answer = client.request(method, path, **more)
    assert time.monotonic() - began < SECONDS
    if answer.status_code >= 400:
        (fault,) = answer.json().values()
        assert fault["code"] == answer.status_code in (422, 503), answer.text
        assert fault["message"]
    return answer


def told_to_be_away(stack: RunningStack, part: str) -> None:
    """Wait until the health check says so; each of its answers comes in time."""
    deadline = time.monotonic() + PATIENCE
    while True:
        health = httpx.get(f"{stack.settings.api_url}/healthcheck", timeout=SECONDS)
        if health.json()[part] == "away":
            assert health.status_code == 503
            return
        assert time.monotonic() < deadline, health.text
        time.sleep(0.5)


def admitted(stack: RunningStack, instance_id: str, kind: str) -> int:
    """How many operations of a kind were admitted."""
    statement = "SELECT count(*) FROM operations WHERE group_id = %s AND kind = %s"
    return int(stack.sql(statement, instance_id, kind)[0][0])


def ids_of(stack: RunningStack, name: str) -> set[str]:
    """Instances of a name."""
    return {str(row[0]) for row in stack.sql("SELECT id FROM instances WHERE name = %s", name)}


@pytest.mark.parametrize(("process", "how"), AWAY, ids=lambda each: str(each))
def test_an_answer_is_true_and_in_time(
    stack: RunningStack, demo: httpx.Client, instances: tuple[str, str], process: str, how: str
) -> None:
    """An order, a restart and a deletion at once."""
    (restarted, kept), name = instances, f"away-{uuid4()}"
    before = admitted(stack, restarted, "restart")
    with away(stack, process, how), ThreadPoolExecutor(3) as pool:
        if process != "localcloud":  # the health check does not ask the cloud
            told_to_be_away(stack, PARTS.get(process, process))
        creating = pool.submit(asked, demo, "POST", "/instances", json=body(name, "mariadb"))
        restarting = pool.submit(asked, demo, "POST", f"/instances/{restarted}/action", json={"restart": {}})
        if process not in NOT_NEEDED:
            assert asked(demo, "DELETE", f"/instances/{kept}").status_code == 503
    ordered = ids_of(stack, name)
    for each in ordered:
        assert demo.delete(f"/instances/{each}").status_code == 202
        wait_until_gone(demo, each)
    time.sleep(1)  # what Temporal was asked for while it was frozen begins now
    TemporalView(stack).wait_until_none_runs()  # whoever was to do it could do it until now
    assert len(ordered | ids_of(stack, name)) == (1 if creating.result().status_code == 200 else 0)
    assert admitted(stack, restarted, "restart") - before == (1 if restarting.result().status_code == 202 else 0)
    assert admitted(stack, kept, "delete") == 0
    for each in instances:
        wait_for(demo, each, "ACTIVE")


def test_refusals_leave_no_traceback(stack: RunningStack, demo: httpx.Client, instances: tuple[str, str]) -> None:
    instance_id = instances[0]
    logs = [stack.settings.log / f"{each}.log" for each in ("api", "workflow-worker", "activity-worker")]
    before = {each: each.stat().st_size for each in logs}
    assert demo.post(f"/instances/{instance_id}/action", json={"restart": {}}).status_code == 202
    for _ in range(3):
        assert demo.post(f"/instances/{instance_id}/action", json={"restart": {}}).status_code == 422
    assert demo.post("/instances", json=body("x", "mariadb", nics=[{"net-id": "no-such"}])).status_code == 400
    wait_for(demo, instance_id, "ACTIVE")
    time.sleep(1)
    for each in logs:
        assert "Traceback" not in each.read_text()[before[each] :]


def test_a_run_that_cannot_go_on_holds_nobody_up(stack: RunningStack, demo: httpx.Client) -> None:
    """No worker has its code: its tasks fail for ever, and it answers nothing. The owner deletes the instance."""
    made = order(demo, "held-up", "mariadb")
    wait_for(demo, made, "ACTIVE")

    async def occupy() -> None:
        client = await Client.connect(f"127.0.0.1:{stack.settings.temporal_port}", namespace="coffer")
        run = await client.start_workflow("NoRunbookOfThisName", id=f"group/{made}", task_queue="runbooks")
        async with asyncio.timeout(PATIENCE):
            while (await run.describe()).raw_description.pending_workflow_task.attempt < STUCK:  # noqa: ASYNC110 - Temporal tells nobody
                await asyncio.sleep(0.2)

    asyncio.run(occupy())
    assert asked(demo, "DELETE", f"/instances/{made}").status_code == 202
    wait_until_gone(demo, made)
    assert "cannot go on" in (stack.settings.log / "api.log").read_text()
