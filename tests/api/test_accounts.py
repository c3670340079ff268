"""Databases, users, grants and root through the API; proven by connecting to the database itself."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pymysql
import pytest

from contract.domain.datastores import DATASTORES
from tests.api.conftest import order, wait_for, wait_until_gone
from tests.api.test_instances import processes_of, uid_of
from tests.contracts.engines import DIALECTS, ENGINES
from tests.stack import RunningStack

RESERVED = "a name that the engine has for itself"


@pytest.fixture(params=ENGINES)
def here(request: pytest.FixtureRequest, demo: httpx.Client, instances: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An instance without databases and users, before and after."""
    instance = instances[request.param]
    yield {**instance, "path": f"/instances/{instance['id']}", "engine": request.param, "address": instance["ip"][0]}
    path = f"/instances/{instance['id']}"
    for user in demo.get(f"{path}/users").json()["users"]:
        name = user["name"] if request.param == "postgresql" else f"{user['name']}@{user['host']}"
        demo.delete(f"{path}/users/{name}".replace("%", "%25"))
    for database in demo.get(f"{path}/databases").json()["databases"]:
        demo.delete(f"{path}/databases/{database['name']}")


def can_connect(here: dict[str, Any], user: str, password: str, database: str) -> bool:
    """Whether the database itself lets somebody in."""
    with contextlib.suppress(Exception):
        DIALECTS[here["engine"]].connect(here["address"], user, password, database).close()
        return True
    return False


def test_databases_and_users(demo: httpx.Client, here: dict[str, Any]) -> None:
    path = here["path"]
    made = demo.post(f"{path}/databases", json={"databases": [{"name": "app"}, {"name": "web"}]})
    assert (made.status_code, made.content) == (202, b"")
    assert demo.get(f"{path}/databases").json() == {"databases": [{"name": "app"}, {"name": "web"}]}
    page = demo.get(f"{path}/databases?limit=1").json()
    assert page["databases"] == [{"name": "app"}]
    assert demo.get(page["links"][0]["href"]).json() == {"databases": [{"name": "web"}]}
    user = {"name": "amy", "password": "s3cret'\"", "databases": [{"name": "app"}]}
    assert demo.post(f"{path}/users", json={"users": [user]}).status_code == 202
    shown = demo.get(f"{path}/users").json()["users"]
    assert shown == [{"name": "amy", "host": "%", "databases": [{"name": "app"}]}]
    assert can_connect(here, "amy", "s3cret'\"", "app")
    assert not can_connect(here, "amy", "s3cret'\"", "web")
    assert demo.get(f"{path}/users/amy").json()["user"]["name"] == "amy"
    assert demo.get(f"{path}/users/amy%40%25").json()["user"]["name"] == "amy"
    assert demo.get(f"{path}/users/amy%2540%2525").status_code == 404  # each segment is decoded once


def all_pages(demo: httpx.Client, path: str, key: str, limit: int) -> list[str]:
    """The names of a list, page by page."""
    body = demo.get(f"{path}?limit={limit}").json()
    found = [each["name"] for each in body[key]]
    while following := body.get("links"):
        assert 0 < len(body[key]) <= limit
        body = demo.get(following[0]["href"]).json()
        found += [each["name"] for each in body[key]]
    return found


def test_a_long_list_comes_in_pages_each_name_once(demo: httpx.Client, here: dict[str, Any]) -> None:
    path, names = here["path"], sorted(f"{'Aa_'[number % 3]}{number}" for number in range(24))
    for some in (names[::2], names[1::2]):
        demo.post(f"{path}/databases", json={"databases": [{"name": each} for each in some]}).raise_for_status()
    users = [{"name": each, "password": "s3cret-s3cret", "databases": [{"name": each}]} for each in names[:9]]
    demo.post(f"{path}/users", json={"users": users}).raise_for_status()
    assert all_pages(demo, f"{path}/databases", "databases", 7) == names
    assert all_pages(demo, f"{path}/users", "users", 2) == names[:9]
    assert demo.get(f"{path}/databases/{names[-1]}").json() == {"database": {"name": names[-1]}}
    assert demo.get(f"{path}/databases/{names[-1]}x").status_code == 404
    for each in names:
        assert demo.delete(f"{path}/databases/{each}").status_code == 202


def test_more_databases_than_an_answer_of_a_guest_holds(demo: httpx.Client, instances: dict[str, Any]) -> None:
    path, address = f"/instances/{instances['mariadb']['id']}", instances["mariadb"]["ip"][0]
    names = [f"{number:04}".ljust(60, "x") for number in range(1100)]
    dialect, root = DIALECTS["mariadb"], demo.post(f"{path}/root").json()["user"]
    amy = {"name": "amy", "password": "s3cret-s3cret"}
    demo.post(f"{path}/users", json={"users": [amy, {**amy, "name": "bob"}]}).raise_for_status()
    with contextlib.closing(dialect.connect(address, "root", root["password"], "")) as session:
        try:
            for each in names:
                dialect.ask(session, f"CREATE DATABASE {each}")
            dialect.ask(session, "GRANT SELECT ON `%`.* TO amy@'%'")
            listed = [{"name": each} for each in names]
            assert all_pages(demo, f"{path}/databases", "databases", 700) == names
            assert demo.get(f"{path}/databases/{names[-1]}").json() == {"database": {"name": names[-1]}}
            assert demo.get(f"{path}/users/amy/databases").json() == {"databases": listed}
            assert demo.get(f"{path}/users/amy").json()["user"]["databases"] == listed
            page = demo.get(f"{path}/users").json()
            assert page["users"] == [{"name": "amy", "host": "%", "databases": listed}]
            assert demo.get(page["links"][0]["href"]).json()["users"] == [{"name": "bob", "host": "%", "databases": []}]
        finally:
            for each in names:
                dialect.ask(session, f"DROP DATABASE IF EXISTS {each}")
            for each in ("users/amy", "users/bob", "root"):
                demo.delete(f"{path}/{each}").raise_for_status()


def test_grants(demo: httpx.Client, here: dict[str, Any]) -> None:
    path = here["path"]
    demo.post(f"{path}/databases", json={"databases": [{"name": "app"}]}).raise_for_status()
    demo.post(f"{path}/users", json={"users": [{"name": "bob", "password": "secret"}]}).raise_for_status()
    assert not can_connect(here, "bob", "secret", "app")
    granted = demo.put(f"{path}/users/bob/databases", json={"databases": [{"name": "app"}]})
    assert granted.status_code == 202
    assert demo.get(f"{path}/users/bob/databases").json() == {"databases": [{"name": "app"}]}
    assert can_connect(here, "bob", "secret", "app")
    assert demo.delete(f"{path}/users/bob/databases/app").status_code == 202
    assert not can_connect(here, "bob", "secret", "app")
    assert demo.put(f"{path}/users/bob/databases", json={"databases": [{"name": "none"}]}).status_code == 404
    assert demo.put(f"{path}/users/nobody/databases", json={"databases": [{"name": "app"}]}).status_code == 404
    assert demo.delete(f"{path}/users/bob/databases/app").status_code == 404


def test_changing_users(demo: httpx.Client, here: dict[str, Any]) -> None:
    path = here["path"]
    demo.post(f"{path}/databases", json={"databases": [{"name": "app"}]}).raise_for_status()
    user = {"name": "cat", "password": "one", "databases": [{"name": "app"}]}
    demo.post(f"{path}/users", json={"users": [user]}).raise_for_status()
    assert demo.put(f"{path}/users", json={"users": [{"name": "cat", "password": "two"}]}).status_code == 202
    assert can_connect(here, "cat", "two", "app")
    assert demo.put(f"{path}/users/cat", json={"user": {"name": "dog", "password": "three"}}).status_code == 202
    assert can_connect(here, "dog", "three", "app")
    assert not can_connect(here, "cat", "two", "app")
    assert demo.put(f"{path}/users/dog", json={"user": {}}).status_code == 400
    assert demo.delete(f"{path}/users/dog").status_code == 202
    assert demo.delete(f"{path}/users/dog").status_code == 404


def test_root(demo: httpx.Client, admin: httpx.Client, here: dict[str, Any]) -> None:
    path = here["path"]
    demo.post(f"{path}/databases", json={"databases": [{"name": "app"}]}).raise_for_status()
    assert demo.get(f"{path}/root").json() == {"rootEnabled": False}
    assert demo.delete(f"{path}/root").status_code == 404
    account = demo.post(f"{path}/root").json()["user"]
    assert account["name"] == "root"
    assert can_connect(here, "root", account["password"], "app")
    assert demo.get(f"{path}/root").json() == {"rootEnabled": True}
    mine = demo.post(f"{path}/root", json={"password": "my own secret"}).json()["user"]
    assert mine["password"] == "my own secret"
    assert not can_connect(here, "root", account["password"], "app")
    assert "root" not in [each["name"] for each in demo.get(f"{path}/users").json()["users"]]
    disabled = demo.delete(f"{path}/root")
    assert (disabled.status_code, disabled.content) == (204, b"")
    assert not can_connect(here, "root", "my own secret", "app")
    assert demo.get(f"{path}/root").json() == {"rootEnabled": False}
    history = admin.get(f"/mgmt{path}/root").json()["root_history"]
    assert history["enabled"] != "Never"


@pytest.mark.parametrize(
    ("collection", "wanted", "named"),
    [
        ("databases", [{"name": "a`b"}], "databases[0]"),
        ("databases", [{"name": "ok"}, {"name": "x" * 65}], "databases[1]"),
        ("databases", [{"name": "ok"}, {"name": "ok"}], "twice"),
        ("databases", [{"name": RESERVED}], "reserved"),
        ("databases", [{"name": "db", "character_set": "klingon"}], "character set"),
        ("databases", [{"name": "db", "collate": "klingon_ci"}], "collation"),
        ("databases", [{"name": ""}], "name"),
        ("databases", [], "databases"),
        ("users", [{"name": "a'b", "password": "x"}], "users[0]"),
        ("users", [{"name": "root", "password": "x"}], "reserved"),
        ("users", [{"name": "amy"}], "password"),
        ("users", [{"name": "amy", "password": "a\u0001b"}], "control"),
        ("users", [{"name": "amy", "password": ""}], "password"),
        ("users", [{"name": "amy", "password": "x", "host": "not a host"}], "host"),
        ("users", [{"name": "amy", "password": "x"}, {"name": "amy", "password": "y"}], "twice"),
        ("users", "amy", "users"),
    ],
)
def test_bad_names_are_refused_and_named(
    demo: httpx.Client, here: dict[str, Any], collection: str, wanted: Any, named: str
) -> None:
    if wanted == [{"name": RESERVED}]:
        wanted = [{"name": min(DATASTORES[here["engine"]].reserved_databases)}]
    answer = demo.post(f"{here['path']}/{collection}", json={collection: wanted})
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["badRequest"]["message"]
    assert demo.get(f"{here['path']}/{collection}").json()[collection] == []


def test_what_exists_is_not_made_again(demo: httpx.Client, here: dict[str, Any]) -> None:
    path = here["path"]
    demo.post(f"{path}/databases", json={"databases": [{"name": "app"}]}).raise_for_status()
    twice = demo.post(f"{path}/databases", json={"databases": [{"name": "new"}, {"name": "app"}]})
    assert twice.status_code == 400
    assert twice.json()["badRequest"]["message"] == "Database app already exists."
    assert demo.get(f"{path}/databases").json() == {"databases": [{"name": "app"}]}
    assert demo.delete(f"{path}/databases/ghost").status_code == 404
    assert demo.get(f"{path}/databases/ghost").status_code == 404
    assert demo.get(f"{path}/users/ghost").status_code == 404


def test_the_fence_holds_against_a_query_that_never_waits_and_a_silent_guest_slows_no_read(
    stack: RunningStack, demo: httpx.Client
) -> None:
    database, user = {"name": "app"}, {"name": "amy", "password": "secret", "databases": [{"name": "app"}]}
    instance_id = order(demo, "fenced", "mariadb", databases=[database], users=[user])
    address = wait_for(demo, instance_id, "ACTIVE")["ip"][0]
    uid = uid_of(stack, instance_id)
    busy = pymysql.connect(host=address, user="amy", password="secret", database="app")
    asking = threading.Thread(target=_ask_for_ever, args=(busy,), daemon=True)
    asking.start()
    time.sleep(0.5)
    compute = stack.cloud("coffer").compute
    server = next(iter(compute.servers(name=f"coffer-{instance_id}")))
    assert processes_of(uid)
    compute.stop_server(server)
    compute.wait_for_server(server, status="SHUTOFF", wait=90)
    assert processes_of(uid) == []
    for path in ("/instances", f"/instances/{instance_id}", f"/instances/{instance_id}/root", "/limits"):
        answer = demo.get(path)
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 10
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)
    asking.join(10)


def _ask_for_ever(connection: "pymysql.Connection[Any]") -> None:
    with contextlib.suppress(pymysql.err.MySQLError), connection.cursor() as cursor:
        cursor.execute("SELECT BENCHMARK(1000000000000, SHA2('on and on', 512))")
