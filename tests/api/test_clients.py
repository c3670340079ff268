"""Unmodified clients: python-troveclient by the `openstack` command, and openstacksdk."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import requests
from troveclient.apiclient.exceptions import from_response

from api.faults import unavailable
from tests.api.conftest import wait_for, wait_until_gone
from tests.stack import RunningStack


def openstack(stack: RunningStack, *words: str, cloud: str = "demo", fails: bool = False) -> Any:
    """Run the client; return its JSON, or with `fails` what it says."""
    environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(stack.settings.home / "clouds.yaml"), "OS_CLOUD": cloud}
    command = [str(Path(sys.executable).with_name("openstack")), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if fails:
        assert done.returncode != 0
        return done.stderr
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "json" in words else done.stdout


def test_troveclient_reads_that_we_are_away() -> None:
    """It would end with a TypeError if the answer said when to come again."""
    fault = unavailable()
    answer = requests.Response()
    answer.status_code, answer._content = fault.code, json.dumps(fault.body()).encode()
    answer.headers.update({"content-type": "application/json", **fault.headers})
    read = from_response(answer, "GET", "/instances")
    assert (read.http_status, "please try again" in str(read)) == (503, True)


def test_troveclient(stack: RunningStack, demo: httpx.Client) -> None:
    made = openstack(stack, "database", "instance", "create", "by-client", "--flavor", "m1.tiny", "--size", "1",
                     "--datastore", "mariadb", "--databases", "app", "--users", "amy:secret", "-f", "json")  # fmt: skip
    assert made["status"] == "BUILD"
    wait_for(demo, made["id"], "ACTIVE")
    listed = openstack(stack, "database", "instance", "list", "-f", "json")
    assert "by-client" in [each["Name"] for each in listed]
    assert openstack(stack, "database", "instance", "show", "by-client", "-f", "json")["id"] == made["id"]
    openstack(stack, "database", "db", "create", "by-client", "web")
    assert [each["Name"] for each in openstack(stack, "database", "db", "list", "by-client", "-f", "json")] == [
        "app",
        "web",
    ]
    openstack(stack, "database", "user", "create", "by-client", "bob", "secret", "--databases", "web")
    users = openstack(stack, "database", "user", "list", "by-client", "-f", "json")
    assert [each["Name"] for each in users] == ["amy", "bob"]
    openstack(stack, "database", "user", "grant", "access", "by-client", "bob", "app")
    openstack(stack, "database", "user", "revoke", "access", "by-client", "bob", "web")
    access = openstack(stack, "database", "user", "show", "access", "by-client", "bob", "-f", "json")
    assert [each["Name"] for each in access] == ["app"]
    openstack(stack, "database", "user", "delete", "by-client", "bob")
    openstack(stack, "database", "db", "delete", "by-client", "web")
    root = openstack(stack, "database", "root", "enable", "by-client", "-f", "json")
    assert root["name"] == "root"
    assert openstack(stack, "database", "root", "show", "by-client", "-f", "json")["is_root_enabled"] in (True, "True")
    openstack(stack, "database", "root", "disable", "by-client")
    openstack(stack, "database", "instance", "restart", "by-client")
    wait_for(demo, made["id"], "ACTIVE")
    openstack(stack, "database", "instance", "update", "by-client", "--name", "by-the-client")
    openstack(stack, "database", "instance", "delete", "by-the-client")
    wait_until_gone(demo, made["id"])


@pytest.mark.parametrize(
    "words",
    ["database flavor list", "database limit list", "database backup list", "database configuration list",
     "database cluster list", "datastore list", "datastore version list mariadb"],
)  # fmt: skip
def test_lists_of_troveclient(stack: RunningStack, words: str) -> None:
    openstack(stack, *words.split())


def test_troveclient_as_an_administrator(stack: RunningStack) -> None:
    quotas = openstack(stack, "database", "quota", "show", "demo", "-f", "json", cloud="admin")
    assert {each["Resource"] for each in quotas} == {"instances", "ram", "volumes", "backups"}
    openstack(stack, "database", "instance", "list", "--all-projects", cloud="admin")
    said = openstack(stack, "database", "instance", "show", "no-such-thing", fails=True)
    assert "no-such-thing" in said


def test_openstacksdk(stack: RunningStack, demo: httpx.Client, instances: dict[str, Any]) -> None:
    database = stack.cloud("demo").database
    instance_id = instances["mariadb"]["id"]
    found = database.get_instance(instance_id)
    assert found.status == "ACTIVE"
    assert instance_id in [each.id for each in database.instances(limit=1)]  # follows the pages
    assert [each.name for each in database.flavors()] == ["m1.tiny", "m1.small", "m1.medium"]
    database.create_database(found, name="sdk")
    database.create_user(found, name="sdk_user", password="secret", databases=[{"name": "sdk"}])
    assert "sdk" in [each.name for each in database.databases(found)]
    assert "sdk_user" in [each.name for each in database.users(found)]
    other = {"users": {"name": "another", "password": "secret"}}
    assert demo.post(f"/instances/{instance_id}/users/sdk_user", json=other).status_code == 400
    database.delete_user("sdk_user", instance=found)
    database.delete_database("sdk", instance=found)
    assert "sdk_user" not in [each.name for each in database.users(found)]
    assert found.is_root_enabled(database) in (True, False)
    found.restart(database)
    wait_for(demo, instance_id, "ACTIVE")
    operations = demo.get(f"/instances/{instance_id}/operations").json()["operations"]
    assert operations[0]["kind"] == "restart"


def test_the_object_store_works_with_a_demo_token(stack: RunningStack) -> None:
    store = stack.cloud("demo").object_store
    store.create_container("round-trip")
    store.upload_object("round-trip", "greeting", data=b"hello")
    assert store.download_object("greeting", container="round-trip") == b"hello"
    assert stack.cloud("admin").object_store.get(f"{store.get_endpoint()}/round-trip/greeting").status_code == 403
    store.delete_object("greeting", container="round-trip")
    store.delete_container("round-trip")


ODD = ("a b", "a#b", "a+b", "a=b?c", "a@b", "a~b", "b", "c$", "d.e", "z#00", "z#01")


@pytest.mark.parametrize("engine", ["mariadb", "postgresql"])
def test_clients_list_each_database_and_user_once(
    stack: RunningStack, demo: httpx.Client, instances: dict[str, Any], engine: str
) -> None:
    """Page by page, whatever the names are: python-troveclient pastes markers as they are, openstacksdk encodes them."""
    path = f"/instances/{instances[engine]['id']}"
    names = [*ODD, *(f"n{number:02}" for number in range(12))]
    try:
        for few in (names[first : first + 4] for first in range(0, len(names), 4)):  # in time on a busy machine, too
            demo.post(f"{path}/databases", json={"databases": [{"name": each} for each in few]}).raise_for_status()
            users = [{"name": each, "password": "secret"} for each in few]
            demo.post(f"{path}/users", json={"users": users}).raise_for_status()
        for kind in ("db", "user"):
            listed = openstack(stack, "database", kind, "list", instances[engine]["id"], "-f", "json")
            assert sorted(each["Name"] for each in listed) == sorted(names)
        database = stack.cloud("demo").database
        found = database.get_instance(instances[engine]["id"])
        for limit in (1, 3, 20):
            assert [each.name for each in database.databases(found, limit=limit)] == sorted(names)
            assert [each.name for each in database.users(found, limit=limit)] == sorted(names)
        for each in names:
            assert demo.get(f"{path}/users/{quote(each, safe='')}@%25").json()["user"]["name"] == each
            assert demo.get(f"{path}/databases/{quote(each, safe='')}").json()["database"]["name"] == each
    finally:
        for each in names:
            demo.delete(f"{path}/users/{quote(each, safe='')}@%25")
            demo.delete(f"{path}/databases/{quote(each, safe='')}")
