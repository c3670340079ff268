"""Instances through the API, over TCP, with real guests."""

import re
import subprocess
import time
from contextlib import closing
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deploy.ranges import guest_subnets
from tests.api.conftest import PATIENCE, body, order, wait_for, wait_until_gone
from tests.contracts.engines import DIALECTS, ENGINES
from tests.stack import RunningStack

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")


@pytest.mark.parametrize("datastore", ENGINES)
def test_from_the_order_to_nothing(stack: RunningStack, demo: httpx.Client, datastore: str) -> None:
    network = next(each for each in stack.cloud("demo").network.networks() if each.name == "private")
    instance_id = order(
        demo, f"whole-{datastore}", datastore, databases=[{"name": "app"}], nics=[{"net-id": network.id}],
        users=[{"name": "amy", "password": "pa ss'word", "databases": [{"name": "app"}]}],
    )  # fmt: skip
    first = demo.get(f"/instances/{instance_id}").json()["instance"]
    assert (first["status"], first["operating_status"]) == ("BUILD", "")
    found = wait_for(demo, instance_id, "ACTIVE")
    assert IPv4Address(found["ip"][0]) in guest_subnets(stack.settings)[1]
    dialect, address = DIALECTS[datastore], found["ip"][0]

    def ask(statement: str, user: str = "amy", password: str = "pa ss'word") -> list[tuple[Any, ...]]:
        with closing(dialect.connect(address, user, password, "app")) as connection:
            return dialect.ask(connection, statement)

    ask("CREATE TABLE t (n int)")
    ask("INSERT INTO t VALUES (7)")
    root = demo.post(f"/instances/{instance_id}/root").json()["user"]
    assert ask("SELECT n FROM t", root["name"], root["password"]) == [(7,)]
    assert demo.post(f"/instances/{instance_id}/action", json={"restart": {}}).status_code == 202
    wait_for(demo, instance_id, "ACTIVE")
    assert ask("SELECT n FROM t") == [(7,)]
    resize_to_small(demo, instance_id)
    assert ask("SELECT n FROM t", root["name"], root["password"]) == [(7,)]
    assert demo.delete(f"/instances/{instance_id}/root").status_code == 204
    with pytest.raises(dialect.refused):
        ask("SELECT n FROM t", root["name"], root["password"])
    operations = demo.get(f"/instances/{instance_id}/operations").json()["operations"]
    assert [each["kind"] for each in operations] == ["resize_flavor", "restart", "create"]
    assert all(each["state"] == "DONE" and each["steps"] for each in operations)
    uid = uid_of(stack, instance_id)
    assert processes_of(uid)
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)
    assert stack.belongings(instance_id) == []
    assert processes_of(uid) == []
    assert stack.sql("SELECT count(*) FROM charges WHERE thing_id = %s", instance_id) == [(0,)]


def resize_to_small(demo: httpx.Client, instance_id: str) -> None:
    """Another flavor, and what is refused of the kind; the instance has m1.tiny."""
    path = f"/instances/{instance_id}/action"
    refused = {"1": 400, "no-such-flavor": 400}
    for flavor, code in refused.items():
        assert demo.post(path, json={"resize": {"flavorRef": flavor}}).status_code == code
    assert demo.post(path, json={"resize": {"flavorRef": "2"}}).status_code == 202
    assert demo.get(f"/instances/{instance_id}").json()["instance"]["status"] == "RESIZE"
    assert demo.post(path, json={"restart": {}}).status_code == 422
    found = wait_for(demo, instance_id, "ACTIVE")
    assert found["flavor"]["id"] == "2"
    assert "fault" not in found


def uid_of(stack: RunningStack, instance_id: str) -> str:
    """The system user that the instance's server runs as, from `ps`: its engine's."""
    statement = "SELECT id FROM resources WHERE instance_id = %s AND kind = 'server'"
    server = stack.sql(statement, instance_id)[0][0]
    listed = subprocess.run(["ps", "axeww", "-o", "uid,args"], capture_output=True, text=True).stdout
    uids = {line.split()[0] for line in listed.splitlines() if server in line}
    return max(uids, key=int)


def processes_of(uid: str) -> list[str]:
    """Ids of a system user's processes, from `ps`."""
    listed = subprocess.run(["ps", "-U", uid, "-o", "pid="], capture_output=True, text=True).stdout
    return listed.split() if uid != "0" else []


def test_the_views_are_trove_s(demo: httpx.Client, admin: httpx.Client, instances: dict[str, dict[str, Any]]) -> None:
    found = instances["mariadb"]
    shown = demo.get(f"/instances/{found['id']}").json()["instance"]
    assert TIME.match(shown["created"])
    assert TIME.match(shown["updated"])
    assert shown["flavor"]["id"] == "1"
    assert shown["datastore"]["type"] == "mariadb"
    assert shown["volume"]["size"] == 1
    assert 0 < shown["volume"]["used"] < 1
    assert shown["access"] == {"is_public": False, "allowed_cidrs": []}
    assert shown["addresses"][0]["type"] == "private"
    assert shown["links"][0]["href"].endswith(f"/instances/{found['id']}")
    assert "tenant_id" not in shown
    assert "server_id" not in shown
    by_admin = admin.get(f"/instances/{found['id']}").json()["instance"]
    assert by_admin["tenant_id"]
    assert by_admin["server_id"]
    assert demo.get(f"/instances/{found['name']}").json()["instance"]["id"] == found["id"]
    managed = admin.get(f"/mgmt/instances/{found['id']}").json()["instance"]
    assert managed["deleted"] is False


def test_an_administrator_s_list_is_its_own_project_s(admin: httpx.Client, instances: dict[str, Any]) -> None:
    assert admin.get("/instances").json() == {"instances": []}
    everybody, url = set(), "/mgmt/instances?deleted=false"
    while url:
        page = admin.get(url).json()
        everybody |= {each["id"] for each in page["instances"]}
        url = page["links"][0]["href"] if "links" in page else ""
    assert {each["id"] for each in instances.values()} <= everybody


def test_pages(demo: httpx.Client, instances: dict[str, Any]) -> None:
    whole = demo.get("/instances").json()
    assert "links" not in whole
    assert "instances_links" not in whole
    seen: list[str] = []
    url = "/instances?limit=1"
    for _ in range(20):
        page = demo.get(url).json()
        assert len(page["instances"]) == 1
        seen += [each["id"] for each in page["instances"]]
        if "links" not in page:
            break
        assert page["links"] == page["instances_links"]
        url = page["links"][0]["href"]
    assert sorted(seen) == sorted(each["id"] for each in whole["instances"])
    for bad in ("-1", "x", "1.5", "٣"):
        assert demo.get("/instances", params={"limit": bad}).status_code == 400
    assert demo.get("/instances", params={"limit": "9" * 30}).status_code == 200
    assert demo.get("/instances?limit=0").json() == {"instances": []}
    assert demo.get("/instances?marker=nonsense").status_code == 400


def test_a_link_to_the_next_page_says_again_what_the_query_said(
    demo: httpx.Client, admin: httpx.Client, instances: dict[str, Any]
) -> None:
    instance_id = instances["mariadb"]["id"]
    for number in range(2):
        demo.post(f"/instances/{instance_id}/databases", json={"databases": [{"name": f"paged{number}"}]})
    lists = [(demo, "/instances"), (demo, "/instances/detail"), (admin, "/mgmt/instances"),
             (demo, f"/instances/{instance_id}/databases")]  # fmt: skip
    for client, path in lists:
        page = client.get(path, params={"deleted": "false", "of": ["a&b", "c d"], "limit": 1}).json()
        said = parse_qs(urlsplit(page["links"][0]["href"]).query)
        assert said.pop("marker"), path
        assert said == {"deleted": ["false"], "of": ["a&b", "c d"], "limit": ["1"]}, path


def test_rename(demo: httpx.Client, instances: dict[str, Any]) -> None:
    instance_id = instances["postgresql"]["id"]
    for verb, name in (("PUT", "other name"), ("PATCH", "shared-postgresql")):
        answer = demo.request(verb, f"/instances/{instance_id}", json={"instance": {"name": name}})
        assert (answer.status_code, answer.content) == (202, b"")
        assert demo.get(f"/instances/{instance_id}").json()["instance"]["name"] == name


def test_delete_while_it_is_being_created(stack: RunningStack, demo: httpx.Client) -> None:
    instance_id = order(demo, "short-lived", "mariadb")
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)
    assert stack.belongings(instance_id) == []


def test_cancel_a_creation(stack: RunningStack, demo: httpx.Client) -> None:
    instance_id = order(demo, "cancelled", "mariadb")
    (operation,) = demo.get(f"/instances/{instance_id}/operations").json()["operations"]
    path = f"/instances/{instance_id}/operations/{operation['id']}"
    assert demo.delete(path).status_code == 202
    found = wait_for(demo, instance_id, "ERROR")
    assert found["fault"]["message"] == "the creation was cancelled"
    assert found["fault"]["details"] is None
    deadline = time.monotonic() + PATIENCE
    while demo.get(path).json()["operation"]["state"] != "CANCELLED":
        assert time.monotonic() < deadline, demo.get(path).text
        time.sleep(0.05)
    assert stack.belongings(instance_id) == []
    assert demo.delete(path).status_code == 422
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"server": ".*"}, "No valid host"),
        ({"volume": ".*"}, "volume"),
        ({"service": "network", "method": "POST", "path": "/ports", "status": 409, "count": 3,
          "answer": {"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].",
                                      "detail": ""}}},
         "uota"),
    ],
)  # fmt: skip
def test_a_creation_that_fails_says_why_and_leaves_nothing(
    stack: RunningStack, demo: httpx.Client, rule: dict[str, Any], sentence: str
) -> None:
    stack.fault(**rule)
    try:
        instance_id = order(demo, "doomed", "mariadb")
        found = wait_for(demo, instance_id, "ERROR")
    finally:
        stack.no_more_faults()
    assert sentence in found["fault"]["message"]
    assert stack.belongings(instance_id) == []
    assert stack.sql("SELECT count(*) FROM charges WHERE thing_id = %s", instance_id) == [(0,)]
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)


def test_busy_is_422_and_names_the_operation(demo: httpx.Client, instances: dict[str, Any]) -> None:
    instance_id = instances["mariadb"]["id"]
    answers = [demo.post(f"/instances/{instance_id}/action", json={"restart": None}) for _ in range(2)]
    assert answers[0].status_code == 202
    assert answers[1].status_code == 422
    message = answers[1].json()["unprocessableEntity"]["message"]
    assert "is not currently available for an action to be performed" in message
    wait_for(demo, instance_id, "ACTIVE")


def test_an_operation_right_after_another_is_accepted(demo: httpx.Client, instances: dict[str, Any]) -> None:
    """The records say ACTIVE a moment before the run ends: whoever polls and then acts must not meet the gap."""
    path = f"/instances/{instances['postgresql']['id']}"
    for _ in range(5):
        assert demo.post(f"{path}/action", json={"restart": {}}).status_code == 202
        deadline = time.monotonic() + 30
        while demo.get(path).json()["instance"]["status"] != "ACTIVE":
            assert time.monotonic() < deadline
    wait_for(demo, instances["postgresql"]["id"], "ACTIVE")


def test_reset_status_and_force_delete(demo: httpx.Client, admin: httpx.Client) -> None:
    instance_id = order(demo, "stuck", "mariadb")
    assert demo.post(f"/instances/{instance_id}/action", json={"reset_status": {}}).status_code == 403
    assert admin.post(f"/instances/{instance_id}/action", json={"reset_status": {}}).status_code == 202
    assert (
        demo.post(f"/instances/{instance_id}/action", json={"reset_status": {"force_delete": True}}).status_code == 202
    )
    assert admin.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)


def test_quota(demo: httpx.Client, admin: httpx.Client, stack: RunningStack) -> None:
    _, project = stack.token("demo")
    before = {each["resource"]: each for each in demo.get(f"/mgmt/quotas/{project}").json()["quotas"]}
    assert before["instances"]["in_use"] >= 2
    admin.put(f"/mgmt/quotas/{project}", json={"quotas": {"instances": 1}}).raise_for_status()
    try:
        refused = demo.post("/instances", json=body("too-many", "mariadb"))
        assert refused.status_code == 413
        assert refused.json()["overLimit"]["message"] == "Quota exceeded for resources: ['instances']."
    finally:
        admin.put(
            f"/mgmt/quotas/{project}", json={"quotas": {"instances": before["instances"]["limit"]}}
        ).raise_for_status()
    assert admin.put(f"/mgmt/quotas/{project}", json={"quotas": {"nothing": 1}}).status_code == 404
    for bad in (-2, 1.5, "many", True):
        assert admin.put(f"/mgmt/quotas/{project}", json={"quotas": {"instances": bad}}).status_code == 400
    assert demo.put(f"/mgmt/quotas/{project}", json={"quotas": {"instances": 5}}).status_code == 401
    assert demo.get("/mgmt/quotas/somebody-else").status_code == 403
