"""Logs through the API, read from Swift by the unmodified python-troveclient."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.domain.datastores import DATASTORES
from tests.api.conftest import order, wait_until_gone
from tests.api.test_faults import is_fault
from tests.contracts.engines import DIALECTS, ENGINES
from tests.stack import RunningStack

PASSWORD = "a-pass-word-5f1"
MEMBERS = {"name", "type", "status", "published", "pending", "container", "prefix", "metafile"}


@pytest.fixture(params=ENGINES)
def here(request: pytest.FixtureRequest, demo: httpx.Client, instances: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An instance with a user, whose logs are as they were afterwards."""
    instance = instances[request.param]
    path = f"/instances/{instance['id']}"
    demo.post(f"{path}/databases", json={"databases": [{"name": "app"}]})
    user = {"name": "amy", "password": PASSWORD, "databases": [{"name": "app"}]}
    assert demo.post(f"{path}/users", json={"users": [user]}).status_code == 202
    yield {**instance, "path": path, "engine": request.param, "address": instance["ip"][0]}
    demo.post(f"{path}/log", json={"name": "general", "disable": 1, "discard": 1})
    demo.delete(f"{path}/users/amy")
    demo.delete(f"{path}/databases/app")


def say(here: dict[str, Any], statement: str) -> None:
    dialect = DIALECTS[here["engine"]]
    with contextlib.closing(dialect.connect(here["address"], "amy", PASSWORD, "app")) as connection:
        dialect.ask(connection, statement)


def publish(demo: httpx.Client, here: dict[str, Any], **more: int) -> dict[str, Any]:
    answer = demo.post(f"{here['path']}/log", json={"name": "general", "publish": 1, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["log"]
    return found


def test_troveclient_lists_sets_shows_tails_and_saves(
    openstack: Callable[..., Any], demo: httpx.Client, here: dict[str, Any], tmp_path: Path
) -> None:
    log = ("database", "log")
    listed = openstack(*log, "list", here["id"], "-f", "json")
    assert {each["Name"]: each["Type"] for each in listed} == {
        name: kind.value for name, kind in DATASTORES[here["engine"]].engine_logs.items()
    }
    assert openstack(*log, "set", here["id"], "general", "--enable", "-f", "json")["status"] in ("Enabled", "Ready")
    for number in range(5):
        say(here, f"SELECT 'line {number}'")
    shown = openstack(*log, "set", here["id"], "general", "--publish", "-f", "json")
    assert shown["published"] > 0
    assert (shown["container"], shown["prefix"]) == ("database_logs", f"{here['id']}/{here['engine']}-general/")
    assert shown["metafile"] == f"{here['id']}/{here['engine']}-general_metafile"
    tail = openstack(*log, "tail", here["id"], "general", "--lines", "1000")
    assert [f"line {number}" in tail for number in range(5)] == [True] * 5
    last = openstack(*log, "tail", here["id"], "general", "--lines", "1")
    assert len(last.splitlines()) == 1
    say(here, "SELECT 'one more'")
    openstack(*log, "set", here["id"], "general", "--publish", "-f", "json")
    saved = tmp_path / "saved.log"
    openstack(*log, "save", here["id"], "general", "--file", str(saved))
    content = saved.read_text()
    assert content.index("line 4") < content.index("one more")
    assert content.count("one more") == 1
    assert PASSWORD not in content
    assert "os_admin" not in content
    assert openstack(*log, "show", here["id"], "general", "-f", "json")["status"] in ("Published", "Partial")


def test_what_is_discarded_is_gone_and_published_again(
    demo: httpx.Client, stack: RunningStack, here: dict[str, Any]
) -> None:
    publish(demo, here)
    say(here, "SELECT 'kept'")
    first = publish(demo, here)
    store = stack.cloud("demo").object_store
    path = f"/database_logs?prefix={first['prefix']}"
    before = store.get(path).text.split()
    assert before
    answer = demo.post(f"{here['path']}/log", json={"name": "general", "discard": 1}).json()["log"]
    assert (answer["published"], answer["container"], answer["prefix"]) == (0, "None", "None")
    assert answer["pending"] > 0
    assert store.get(path).text.split() == []
    again = publish(demo, here, discard=1)
    assert again["published"] > 0
    assert set(store.get(path).text.split()) & set(before) == set()


def test_the_guest_s_log_is_for_administrators(demo: httpx.Client, admin: httpx.Client, here: dict[str, Any]) -> None:
    path = f"{here['path']}/log"
    assert "guest" not in [each["name"] for each in demo.get(path).json()["logs"]]
    for flags in ({}, {"publish": 1}, {"discard": 1}, {"enable": 1}):
        is_fault(demo.post(path, json={"name": "guest", **flags}), 403)
    assert "guest" in [each["name"] for each in admin.get(path).json()["logs"]]
    found = admin.post(path, json={"name": "guest", "publish": 1}).json()["log"]
    assert (found["type"], found["published"] > 0) == ("SYS", True)
    admin.post(path, json={"name": "guest", "discard": 1})


def test_each_log_has_trove_s_members(demo: httpx.Client, here: dict[str, Any]) -> None:
    for each in demo.get(f"{here['path']}/log").json()["logs"]:
        assert each.keys() == MEMBERS
        assert demo.post(f"{here['path']}/log", json={"name": each["name"]}).json()["log"].keys() == MEMBERS


WRONG: list[tuple[Any, int, str]] = [
    ({}, 400, "name"),
    ({"name": ""}, 400, "name"),
    ({"name": 1}, 400, "name"),
    ({"name": "no-such"}, 404, "not defined"),
    ({"name": "../general"}, 404, "not defined"),
    ({"name": "general", "enable": 1, "disable": 1}, 400, "both"),
    ({"name": "general", "enable": 2}, 400, "enable"),
    ({"name": "general", "publish": "yes"}, 400, "publish"),
    ({"name": "general", "publish": 1.0}, 400, "publish"),
    ({"name": "general", "discard": None}, 400, "discard"),
    ({"name": "general", "tail": 1}, 400, "tail"),
    ({"name": "error", "enable": 1}, 400, "SYSTEM"),
    ({"name": "error", "disable": 1, "publish": 1}, 400, "SYSTEM"),
    ([], 400, ""),
]


def test_what_is_wrong_is_refused(
    demo: httpx.Client, admin: httpx.Client, instances: dict[str, dict[str, Any]]
) -> None:
    path = f"/instances/{instances['mariadb']['id']}/log"
    for body, code, named in WRONG:
        assert named in is_fault(demo.post(path, json=body), code), body
    is_fault(demo.post(path), 400)
    nobody = "/instances/00000000-0000-4000-8000-000000000000/log"
    is_fault(demo.get(nobody), 404)
    is_fault(demo.post(nobody, json={"name": "general"}), 404)
    fresh = order(demo, "no-logs-yet", "mariadb")
    is_fault(demo.get(f"/instances/{fresh}/log"), 422)
    demo.delete(f"/instances/{fresh}")
    wait_until_gone(demo, fresh)


def test_without_an_object_store_nothing_is_published(
    demo: httpx.Client, stack: RunningStack, instances: dict[str, dict[str, Any]]
) -> None:
    path = f"/instances/{instances['postgresql']['id']}/log"
    with _no_object_store(stack):
        for flags in ({"publish": 1}, {"discard": 1}):
            assert "Swift" in is_fault(demo.post(path, json={"name": "general", **flags}), 501)
        assert demo.post(path, json={"name": "general"}).json()["log"]["status"] == "Disabled"
        assert demo.get(path).status_code == 200


@contextlib.contextmanager
def _no_object_store(stack: RunningStack) -> Iterator[None]:
    """Take Swift out of the catalogue."""
    identity: Any = stack.cloud("admin").identity
    (service,) = identity.services(type="object-store")
    endpoints = list(identity.endpoints(service_id=service.id))
    for each in endpoints:
        identity.update_endpoint(each, is_enabled=False)
    try:
        yield
    finally:
        for each in endpoints:
            identity.update_endpoint(each, is_enabled=True)
        deadline = time.monotonic() + 30
        while "object-store" not in str(_catalogue(stack)):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _catalogue(stack: RunningStack) -> Any:
    headers = {"X-Auth-Token": stack.token("demo")[0]}
    return httpx.get(f"{stack.settings.keystone_url}/auth/catalog", headers=headers).json()
