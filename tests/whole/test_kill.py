"""kill -9 of every process of the stack, in the middle of a creation: it completes afterwards without a hand."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import body, order, wait_for, wait_until_gone
from tests.stack import RunningStack

HELD = 3.0  # seconds that the embedded cloud takes for the step, so that it can be met


@pytest.fixture
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """A client with a token of its own, for Keystone lives on."""
    with stack.api("demo") as client:
        yield client
    stack.no_more_faults()


def at_step(stack: RunningStack, instance_id: str, step: str) -> None:
    """Wait until a step runs, as the records have it."""
    deadline = time.monotonic() + 120
    while True:
        rows = stack.sql("SELECT s.name FROM operation_steps s JOIN operations o ON o.id = s.operation_id "
                         "WHERE o.instance_id = %s AND s.finished IS NULL", instance_id)  # fmt: skip
        if rows and rows[0][0] == step:
            return
        assert time.monotonic() < deadline, rows
        time.sleep(0.01)


def served(stack: RunningStack, demo: httpx.Client, instance_id: str) -> None:
    """The database serves, of everything there is one, and nothing is left when it is deleted."""
    wait_for(demo, instance_id, "ACTIVE")
    kinds = sorted(each.rsplit(" ", 1)[0] for each in stack.belongings(instance_id))
    assert kinds == ["port", "security group", "server", "volume"]
    until_done(demo, "POST", f"/instances/{instance_id}/databases", json={"databases": [{"name": "app"}]})
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)
    assert stack.belongings(instance_id) == []


def until_done(demo: httpx.Client, method: str, path: str, **more: Any) -> None:
    """Ask again where the answer is 503: nothing was changed, for guests and workers are not back yet."""
    deadline = time.monotonic() + 90
    while (answer := demo.request(method, path, **more)).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.5)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    "victim", ["workflow-worker", "activity-worker", "api", "gateway", "temporal", "localcloud", "postgresql"]
)
def test_kill_a_process_while_the_server_is_being_made(stack: RunningStack, demo: httpx.Client, victim: str) -> None:
    stack.fault(service="compute", method="POST", path="/servers$", delay=HELD)
    instance_id = order(demo, f"kill-{victim}", "mariadb")
    at_step(stack, instance_id, "create server")
    time.sleep(0.3)
    pid = stack.stack.supervisor.states()[victim]["pid"]
    os.kill(pid, signal.SIGKILL)
    until_it_answers(stack)
    assert stack.stack.supervisor.states()[victim]["pid"] != pid
    served(stack, demo, instance_id)


def test_kill_the_guest_worker_while_it_initialises(stack: RunningStack, demo: httpx.Client) -> None:
    instance_id = order(demo, "kill-guest", "mariadb")
    at_step(stack, instance_id, "initialise datastore")
    server = next(iter(stack.cloud("coffer").compute.servers(name=f"coffer-{instance_id}")))
    listed = subprocess.run(["ps", "axeww", "-o", "pid,args"], capture_output=True, text=True).stdout.splitlines()
    pids = [int(line.split()[0]) for line in listed if server.id in line and "-m guest_worker " in line]
    assert len(pids) == 1
    os.kill(pids[0], signal.SIGKILL)
    # its attempt is given up when it has not been heard of for 15 seconds; the guest is there again by then
    began = time.monotonic()
    while not stack.sql("SELECT 1 FROM operation_steps s JOIN operations o ON o.id = s.operation_id"
                        " WHERE o.instance_id = %s AND s.name = 'configure datastore'", instance_id):  # fmt: skip
        assert time.monotonic() - began < 50, "the step still waits for the guest that was killed"
        time.sleep(0.1)
    served(stack, demo, instance_id)


def test_kill_the_gateway_while_the_guest_initialises(stack: RunningStack, demo: httpx.Client) -> None:
    """An answer waits before the door until there is one again; a task that was just in it is given up after a minute."""
    instance_id = order(demo, "kill-the-door", "mariadb")
    at_step(stack, instance_id, "initialise datastore")
    os.kill(stack.stack.supervisor.states()["gateway"]["pid"], signal.SIGKILL)
    until_it_answers(stack)
    wait_for(demo, instance_id, "ACTIVE")
    served(stack, demo, instance_id)


def test_kill_the_supervisor_and_make_up_goes_on(stack: RunningStack, demo: httpx.Client) -> None:
    stack.fault(service="compute", method="POST", path="/servers$", delay=HELD)
    instance_id = order(demo, "kill-supervisor", "mariadb")
    at_step(stack, instance_id, "create server")
    pid = stack.stack.supervisor.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    stack.stack.up()
    served(stack, demo, instance_id)


def test_without_temporal_mutations_are_503_and_reads_go_on(stack: RunningStack, demo: httpx.Client) -> None:
    rpc = stack.stack.supervisor._rpc()
    rpc.stopProcess("temporal")
    try:
        before = demo.get("/instances").json()
        refused = demo.post("/instances", json=body("nobody", "mariadb"))
        assert refused.status_code == 503
        assert list(refused.json()) == ["serviceUnavailable"]
        assert demo.get("/instances").json() == before
    finally:
        rpc.startProcess("temporal")
    until_it_answers(stack)
    instance_id = order(demo, "afterwards", "mariadb")
    served(stack, demo, instance_id)
    assert "nobody" not in [each["name"] for each in demo.get("/instances").json()["instances"]]


def until_it_answers(stack: RunningStack) -> None:
    """Wait until every process runs and the API answers."""
    deadline = time.monotonic() + 180
    while True:
        states = stack.stack.supervisor.states().values()
        if all(each["statename"] == "RUNNING" for each in states) and _healthy(stack):
            return
        assert time.monotonic() < deadline, [(each["name"], each["statename"]) for each in states]
        time.sleep(0.1)


def _healthy(stack: RunningStack) -> bool:
    try:
        return httpx.get(f"{stack.settings.api_url}/healthcheck").status_code == 200
    except httpx.HTTPError:
        return False
