"""Unmodified clients: python-troveclient by the `openstack` command, and openstacksdk."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import requests
from troveclient.apiclient.exceptions import from_response

from api.faults import unavailable
from tests.api.conftest import wait_for, wait_until_gone
from tests.stack import RunningStack


def test_troveclient_reads_that_we_are_away() -> None:
    """It would end with a TypeError if the answer said when to come again."""
    fault = unavailable()
    answer = requests.Response()
    answer.status_code, answer._content = fault.code, json.dumps(fault.body()).encode()
    answer.headers.update({"content-type": "application/json", **fault.headers})
    read = from_response(answer, "GET", "/instances")
    assert (read.http_status, "please try again" in str(read)) == (503, True)


def test_troveclient(openstack: Callable[..., Any], demo: httpx.Client) -> None:
    made = openstack("database", "instance", "create", "by-client", "--flavor", "m1.tiny", "--size", "1",
                     "--datastore", "mariadb", "--databases", "app", "--users", "amy:secret", "-f", "json")  # fmt: skip
    assert made["status"] == "BUILD"
    wait_for(demo, made["id"], "ACTIVE")
    listed = openstack("database", "instance", "list", "-f", "json")
    assert "by-client" in [each["Name"] for each in listed]
    assert openstack("database", "instance", "show", "by-client", "-f", "json")["id"] == made["id"]
    openstack("database", "db", "create", "by-client", "web")
    assert [each["Name"] for each in openstack("database", "db", "list", "by-client", "-f", "json")] == [
        "app",
        "web",
    ]
    openstack("database", "user", "create", "by-client", "bob", "secret", "--databases", "web")
    users = openstack("database", "user", "list", "by-client", "-f", "json")
    assert [each["Name"] for each in users] == ["amy", "bob"]
    openstack("database", "user", "grant", "access", "by-client", "bob", "app")
    openstack("database", "user", "revoke", "access", "by-client", "bob", "web")
    access = openstack("database", "user", "show", "access", "by-client", "bob", "-f", "json")
    assert [each["Name"] for each in access] == ["app"]
    openstack("database", "user", "delete", "by-client", "bob")
    openstack("database", "db", "delete", "by-client", "web")
    root = openstack("database", "root", "enable", "by-client", "-f", "json")
    assert root["name"] == "root"
    assert openstack("database", "root", "show", "by-client", "-f", "json")["is_root_enabled"] in (True, "True")
    openstack("database", "root", "disable", "by-client")
    openstack("database", "instance", "restart", "by-client")
    wait_for(demo, made["id"], "ACTIVE")
    openstack("database", "instance", "resize", "volume", "by-client", "2")
    assert wait_for(demo, made["id"], "ACTIVE")["volume"]["size"] == 2
    openstack("database", "instance", "update", "by-client", "--name", "by-the-client")
    openstack("database", "instance", "delete", "by-the-client")
    wait_until_gone(demo, made["id"])


@pytest.mark.parametrize(
    "words",
    ["database flavor list", "database limit list", "database backup list", "database configuration list",
     "database cluster list", "datastore list", "datastore version list mariadb"],
)  # fmt: skip
def test_lists_of_troveclient(openstack: Callable[..., Any], words: str) -> None:
    openstack(*words.split())


def test_troveclient_as_an_administrator(openstack: Callable[..., Any]) -> None:
    quotas = openstack("database", "quota", "show", "demo", "-f", "json", cloud="admin")
    assert {each["Resource"] for each in quotas} == {"instances", "ram", "volumes", "backups"}
    openstack("database", "instance", "list", "--all-projects", cloud="admin")
    said = openstack("database", "instance", "show", "no-such-thing", fails=True)
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
    openstack: Callable[..., Any], stack: RunningStack, demo: httpx.Client, instances: dict[str, Any], engine: str
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
            listed = openstack("database", kind, "list", instances[engine]["id"], "-f", "json")
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
