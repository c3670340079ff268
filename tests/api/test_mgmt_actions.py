"""What administrators can have done to an instance: over TCP, with real guests, on every engine."""

import time
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.api.conftest import order, wait_for, wait_until_gone
from tests.api.test_faults import is_fault
from tests.contracts.engines import DIALECTS, ENGINES
from tests.stack import RunningStack


def act(client: httpx.Client, instance_id: str, content: Any) -> None:
    """Have it accepted."""
    answer = client.post(f"/mgmt/instances/{instance_id}/action", json=content)
    assert (answer.status_code, answer.content) == (202, b""), answer.text


@pytest.mark.parametrize("datastore", ENGINES)
def test_stop_start_reboot_and_migrate_keep_the_data(
    stack: RunningStack, demo: httpx.Client, admin: httpx.Client, datastore: str
) -> None:
    instance_id = order(
        demo, f"power-{datastore}", datastore, databases=[{"name": "app"}],
        users=[{"name": "amy", "password": "secret-1", "databases": [{"name": "app"}]}],
    )  # fmt: skip
    address, dialect = wait_for(demo, instance_id, "ACTIVE")["ip"][0], DIALECTS[datastore]

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with closing(dialect.connect(address, "amy", "secret-1", "app")) as connection:
            return dialect.ask(connection, statement)

    ask("CREATE TABLE t (n int)")
    ask("INSERT INTO t VALUES (7)")
    act(admin, instance_id, {"stop": None})
    until_stopped(stack, instance_id)
    found = demo.get(f"/instances/{instance_id}").json()["instance"]
    assert (found["operating_status"], state(stack, admin, instance_id)) == ("SHUTDOWN", "SHUTOFF")
    is_fault(demo.post(f"/instances/{instance_id}/databases", json={"databases": [{"name": "no"}]}), 422)
    is_fault(demo.post(f"/instances/{instance_id}/action", json={"resize": {"flavorRef": "2"}}), 422)
    assert admin.post(f"/instances/{instance_id}/action", json={"reset_status": {}}).status_code == 202
    assert demo.get(f"/instances/{instance_id}").json()["instance"]["status"] == "SHUTDOWN"
    assert demo.post(f"/instances/{instance_id}/action", json={"restart": {}}).status_code == 202  # the owner's way out
    wait_for(demo, instance_id, "ACTIVE")
    assert ask("SELECT n FROM t") == [(7,)]
    moves: list[dict[str, Any]] = [{"reboot": {}}, {"migrate": {"host": "local2"}}]
    for content in moves:
        act(admin, instance_id, content)
        assert demo.get(f"/instances/{instance_id}").json()["instance"]["status"] in ("REBOOT", "RESIZE")
        wait_for(demo, instance_id, "ACTIVE")
        assert ask("SELECT n FROM t") == [(7,)]
    act(admin, instance_id, {"reset-task-status": {}})
    assert ask("SELECT n FROM t") == [(7,)]
    kinds = [each["kind"] for each in demo.get(f"/instances/{instance_id}/operations").json()["operations"]]
    assert kinds == ["migrate", "reboot", "start", "stop", "create"]
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)
    assert stack.belongings(instance_id) == []


def state(stack: RunningStack, admin: httpx.Client, instance_id: str) -> str:
    """What Nova says of the server."""
    conn: Any = stack.cloud("coffer")
    return str(conn.compute.get_server(admin.get(f"/instances/{instance_id}").json()["instance"]["server_id"]).status)


def until_stopped(stack: RunningStack, instance_id: str) -> None:
    """Wait until the operation that stops it has ended: its status is SHUTDOWN from the beginning."""
    deadline = time.monotonic() + 120
    while stack.sql("SELECT count(*) FROM operations WHERE group_id = %s AND state = 'RUNNING'", instance_id) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, "exactly one action"),
        (None, "exactly one action"),
        ([], "exactly one action"),
        ({"stop": {}, "reboot": {}}, "exactly one action"),
        ({"restart": {}}, "exactly one action"),
        ({"stop": {"now": True}}, "stop.now"),
        ({"migrate": {"host": 7}}, "migrate.host"),
        ({"migrate": {"to": "local2"}}, "migrate.to"),
        ({"reset-task-status": 1}, "reset-task-status"),
    ],
)
def test_what_is_no_action_is_refused(
    admin: httpx.Client, instances: dict[str, dict[str, Any]], content: Any, named: str
) -> None:
    assert named in is_fault(admin.post(f"/mgmt/instances/{instances['mariadb']['id']}/action", json=content), 400)


def test_it_is_for_administrators_and_of_what_there_is(
    demo: httpx.Client, admin: httpx.Client, instances: dict[str, dict[str, Any]]
) -> None:
    is_fault(demo.post(f"/mgmt/instances/{instances['mariadb']['id']}/action", json={"stop": {}}), 401)
    nobody = "00000000-0000-4000-8000-000000000000"
    for name in ("stop", "reboot", "migrate", "reset-task-status"):
        is_fault(admin.post(f"/mgmt/instances/{nobody}/action", json={name: {}}), 404)
