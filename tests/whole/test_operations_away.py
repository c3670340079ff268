"""Whatever process is away, each answer comes within ten seconds and is true: it is done, or it will never happen."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.client import Client

from tests.api.conftest import body, order, wait_for, wait_until_gone
from tests.stack import RunningStack
from tests.whole.away import away

SECONDS = 10.0
AWAY = [
    ("temporal", "stopped"), ("temporal", "frozen"), ("workflow-worker", "stopped"), ("workflow-worker", "frozen"),
    ("activity-worker", "stopped"), ("activity-worker", "frozen"), ("postgresql", "stopped"), ("postgresql", "frozen"),
    ("gateway", "stopped"), ("gateway", "frozen"), ("keystone", "stopped"), ("keystone", "frozen"),
]  # fmt: skip
PARTS = {"postgresql": "records"}


@pytest.fixture
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """A client with a token of its own."""
    with stack.api("demo") as client:
        yield client


@pytest.fixture(scope="module")
def instance_id(stack: RunningStack) -> Iterator[str]:
    """An instance that serves."""
    with stack.api("demo") as client:
        made = order(client, "not-away", "mariadb")
        wait_for(client, made, "ACTIVE")
        yield made
        client.delete(f"/instances/{made}")
        wait_until_gone(client, made)


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


def restarts_of(stack: RunningStack, instance_id: str) -> int:
    """How many restarts were admitted."""
    statement = "SELECT count(*) FROM operations WHERE instance_id = %s AND kind = 'restart'"
    return int(stack.sql(statement, instance_id)[0][0])


@pytest.mark.parametrize(("process", "how"), AWAY, ids=lambda each: str(each))
def test_an_answer_is_true_and_in_time(
    stack: RunningStack, demo: httpx.Client, instance_id: str, process: str, how: str
) -> None:
    name, before = f"away-{uuid4()}", restarts_of(stack, instance_id)
    with away(stack, process, how):
        time.sleep(2.1)  # the health check tells what it found two seconds ago
        began = time.monotonic()
        health = httpx.get(f"{stack.settings.api_url}/healthcheck", timeout=SECONDS)
        assert time.monotonic() - began < SECONDS
        assert health.json()[PARTS.get(process, process.replace("-", "_"))] == "away"
        assert health.status_code == 503
        created = asked(demo, "POST", "/instances", json=body(name, "mariadb"))
        restarted = asked(demo, "POST", f"/instances/{instance_id}/action", json={"restart": {}})
    assert httpx.get(f"{stack.settings.api_url}/healthcheck", timeout=SECONDS).status_code == 200
    time.sleep(8)  # whoever was to do it could do it now
    found = stack.sql("SELECT id FROM instances WHERE name = %s", name)
    assert len(found) == (1 if created.status_code == 200 else 0)
    for row in found:
        assert demo.delete(f"/instances/{row[0]}").status_code == 202
        wait_until_gone(demo, str(row[0]))
    assert restarts_of(stack, instance_id) - before == (1 if restarted.status_code == 202 else 0)
    wait_for(demo, instance_id, "ACTIVE")


@pytest.mark.parametrize("process", ["temporal", "workflow-worker", "activity-worker"])
def test_a_deletion_that_was_not_admitted_never_happens(
    stack: RunningStack, demo: httpx.Client, instance_id: str, process: str
) -> None:
    with away(stack, process, "frozen"):
        assert asked(demo, "DELETE", f"/instances/{instance_id}").status_code == 503
    time.sleep(8)
    assert stack.sql("SELECT count(*) FROM operations WHERE instance_id = %s AND kind = 'delete'", instance_id) == [
        (0,)
    ]
    wait_for(demo, instance_id, "ACTIVE")


def test_refusals_leave_no_traceback(stack: RunningStack, demo: httpx.Client, instance_id: str) -> None:
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
        await client.start_workflow("NoRunbookOfThisName", id=f"group/{made}", task_queue="runbooks")

    asyncio.run(occupy())
    time.sleep(3)
    assert asked(demo, "DELETE", f"/instances/{made}").status_code == 202
    wait_until_gone(demo, made)
    assert "cannot go on" in (stack.settings.log / "api.log").read_text()
