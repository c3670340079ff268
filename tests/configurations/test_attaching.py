"""A group on real instances of each engine: in force when the answer comes, or after a restart; until it is detached."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.api.conftest import order, wait_for, wait_until_gone
from tests.api.test_faults import is_fault
from tests.contracts.engines import DIALECTS, ENGINES

USER = {"name": "amy", "password": "secret", "databases": [{"name": "app"}]}
# of each engine: something that changes while it runs, and something for its start; and how a client reads them
LIVE = {
    "postgresql": ("work_mem", 12345, "12345kB"),
    "mariadb": ("max_connections", 77, 77),
    "mysql": ("max_connections", 77, 77),
}
AT_START = {
    "postgresql": ("max_connections", 77, "77"),
    "mariadb": ("back_log", 77, 77),
    "mysql": ("innodb_read_io_threads", 7, 7),
}  # fmt: skip


class Database:
    """An instance, and a way to ask it."""

    def __init__(self, client: httpx.Client, datastore: str, instance_id: str) -> None:
        self.client, self.datastore, self.id = client, datastore, instance_id
        self.address = wait_for(client, instance_id, "ACTIVE")["ip"][0]
        self.path = f"/instances/{instance_id}"

    def setting(self, name: str) -> Any:
        """What a new session of the tenant's has."""
        dialect = DIALECTS[self.datastore]
        form = "SELECT current_setting('{}')" if self.datastore == "postgresql" else "SELECT @@GLOBAL.{}"
        with closing(dialect.connect(self.address, "amy", "secret", "app")) as connection:
            return dialect.ask(connection, form.format(name))[0][0]

    def attach(self, configuration: Any) -> httpx.Response:
        """Attach, or with None detach."""
        return self.client.put(self.path, json={"instance": {"configuration": configuration}})

    @property
    def view(self) -> dict[str, Any]:
        """As it is shown."""
        found: dict[str, Any] = self.client.get(self.path).json()["instance"]
        return found

    def group(self, **values: Any) -> str:
        """A new group for it."""
        body = {"name": "g", "values": values, "datastore": {"type": self.datastore}}
        answer = self.client.post("/configurations", json={"configuration": body})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["configuration"]["id"])


@pytest.fixture(scope="module", params=ENGINES)
def database(request: pytest.FixtureRequest, demo: httpx.Client) -> Iterator[Database]:
    """One instance of each engine."""
    more = {"databases": [{"name": "app"}], "users": [USER]}
    instance_id = order(demo, f"configured-{request.param}", request.param, **more)
    yield Database(demo, request.param, instance_id)
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)


def test_attached_changed_restarted_detached(database: Database) -> None:
    name, value, seen = LIVE[database.datastore]
    late, later, seen_later = AT_START[database.datastore]
    before, before_late = database.setting(name), database.setting(late)
    group = database.group(**{name: value})
    path = f"/configurations/{group}"
    answer = database.attach(group)
    assert (answer.status_code, answer.content) == (202, b"")
    assert database.setting(name) == seen
    assert database.view["status"] == "ACTIVE"
    assert database.view["configuration"]["id"] == group
    assert database.client.get(f"{path}/instances").json()["instances"] == [
        {"id": database.id, "name": database.view["name"]}
    ]
    assert database.client.get(path).json()["configuration"]["instance_count"] == 1
    assert "associated with" in is_fault(database.client.delete(path), 400)
    assert "already has" in is_fault(database.attach(group), 400)
    # a change of the group reaches it: what can change has changed when the answer comes
    assert database.client.patch(path, json={"configuration": {"values": {late: later}}}).status_code == 200
    assert (database.setting(name), database.setting(late)) == (seen, before_late)
    assert database.view["status"] == "RESTART_REQUIRED"
    assert database.client.get(f"{database.path}/users").status_code == 200
    assert database.client.post(f"{database.path}/action", json={"restart": {}}).status_code == 202
    wait_for(database.client, database.id, "ACTIVE")
    assert (database.setting(name), database.setting(late)) == (seen, seen_later)
    assert database.client.put(path, json={"configuration": {"values": {}}}).status_code == 202
    assert (database.setting(name), database.setting(late)) == (before, seen_later)
    assert database.view["status"] == "RESTART_REQUIRED"
    answer = database.client.put(database.path, json={"instance": {}})  # as gophercloud detaches
    assert (answer.status_code, answer.content) == (202, b"")
    assert "configuration" not in database.view
    assert database.client.post(f"{database.path}/action", json={"restart": {}}).status_code == 202
    wait_for(database.client, database.id, "ACTIVE")
    assert (database.setting(name), database.setting(late)) == (before, before_late)
    assert database.attach(None).status_code == 202  # none is attached: nothing happens
    assert database.client.delete(path).status_code == 202
    kinds = [each["kind"] for each in database.client.get(f"{database.path}/operations").json()["operations"]]
    assert kinds.count("reconfigure") == 4


def test_too_much_memory_is_refused_and_all_is_as_it_was(database: Database) -> None:
    name = "shared_buffers" if database.datastore == "postgresql" else "innodb_buffer_pool_size"
    group = database.group(**{name: "8GB" if database.datastore == "postgresql" else 2**33})
    assert "three quarters of the instance's memory" in is_fault(database.attach(group), 400)
    assert database.view["status"] == "ACTIVE"
    assert "configuration" not in database.view
    assert "fault" not in database.view
    assert database.client.delete(f"/configurations/{group}").status_code == 202


def test_default_configuration(database: Database) -> None:
    found = database.client.get(f"{database.path}/configuration").json()["instance"]["configuration"]
    assert found["max_connections"] == str(1024 // (10 if database.datastore == "postgresql" else 8))
    assert not any("/" in value for value in found.values())  # no places of the machine's


def test_groups_that_do_not_fit(database: Database) -> None:
    other = "mariadb" if database.datastore == "postgresql" else "postgresql"
    body = {"name": "other", "values": {}, "datastore": {"type": other}}
    group = database.client.post("/configurations", json={"configuration": body}).json()["configuration"]["id"]
    assert "not that of the instance" in is_fault(database.attach(group), 400)
    is_fault(database.attach("00000000-0000-4000-8000-000000000000"), 404)
    is_fault(database.attach("no such group"), 404)
    is_fault(database.attach(["a"]), 400)
    spec = {"name": "x", "flavorRef": 1, "volume": {"size": 1}, "datastore": {"type": database.datastore}}
    for configuration, code in ((group, 400), ("none-such", 404)):
        wanted = {"instance": {**spec, "configuration": configuration}}
        is_fault(database.client.post("/instances", json=wanted), code)
    assert database.client.delete(f"/configurations/{group}").status_code == 202


def test_ordered_with_a_group(database: Database) -> None:
    late, later, seen = AT_START[database.datastore]
    group = database.group(**{late: later})
    more = {"databases": [{"name": "app"}], "users": [USER], "configuration": group}
    made = Database(
        database.client, database.datastore, order(database.client, "with-a-group", database.datastore, **more)
    )
    try:
        assert made.setting(late) == seen
        assert made.view["configuration"]["id"] == group
        is_fault(made.client.delete(f"/configurations/{group}"), 400)
    finally:
        assert made.client.delete(made.path).status_code == 202
        wait_until_gone(made.client, made.id)
    assert made.client.delete(f"/configurations/{group}").status_code == 202
