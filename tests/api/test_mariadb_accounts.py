"""What MariaDB means by hosts, names and character sets, through the API: the same thing in each form that it is asked in."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pymysql
import pytest

from tests.api.conftest import body


@pytest.fixture
def here(demo: httpx.Client, instances: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The shared MariaDB with a database `app`, empty again afterwards."""
    instance = instances["mariadb"]
    path = f"/instances/{instance['id']}"
    demo.post(f"{path}/databases", json={"databases": [{"name": "app"}]}).raise_for_status()
    yield {"path": path, "address": instance["ip"][0]}
    for user in demo.get(f"{path}/users").json()["users"]:
        demo.delete(f"{path}/users/{quote(user['name'] + '@' + user['host'], safe='')}").raise_for_status()
    for database in demo.get(f"{path}/databases").json()["databases"]:
        demo.delete(f"{path}/databases/{quote(database['name'], safe='')}").raise_for_status()


FORMS = [
    ("10.0.0.0/24", "10.0.0.0/255.255.255.0"),
    ("10.0.0.7/32", "10.0.0.7"),
    ("2001:DB8::0:1", "2001:db8::1"),
    ("0.0.0.0/0", "%"),
]


@pytest.mark.parametrize(("said", "kept"), FORMS)
def test_a_user_is_found_under_each_form_of_its_host(
    demo: httpx.Client, here: dict[str, Any], said: str, kept: str
) -> None:
    user = {"name": "u", "password": "one", "host": said, "databases": [{"name": "app"}]}
    assert demo.post(f"{here['path']}/users", json={"users": [user]}).status_code == 202
    again = demo.post(f"{here['path']}/users", json={"users": [{**user, "host": kept}]})
    assert (again.status_code, "already exists" in again.text) == (400, True)
    both = demo.post(
        f"{here['path']}/users", json={"users": [{**user, "name": "v"}, {**user, "name": "v", "host": kept}]}
    )
    assert (both.status_code, "twice" in both.text) == (400, True)
    for form in (said, kept):
        named = f"{here['path']}/users/{quote(f'u@{form}', safe='')}"
        assert demo.get(named).json()["user"]["host"] == kept
        assert demo.get(f"{named}/databases").json() == {"databases": [{"name": "app"}]}
        assert demo.put(named, json={"user": {"password": "two"}}).status_code == 202
        assert demo.put(named, json={"user": {"host": said}}).status_code == 202  # no change
        changed = {"users": [{"name": "u", "host": form, "password": "three"}]}
        assert demo.put(f"{here['path']}/users", json=changed).status_code == 202
    assert demo.delete(f"{here['path']}/users/{quote(f'u@{said}', safe='')}").status_code == 202


@pytest.mark.parametrize(
    "host", ["127.24.9.9/255.255.0.0", "127.24.0.0/0.0.255.255", "2001:db8::/32", "db.example", "localhost"]
)
def test_a_host_that_matches_nobody_is_a_400(demo: httpx.Client, here: dict[str, Any], host: str) -> None:
    user = {"name": "u", "password": "one", "host": host}
    refused = demo.post(f"{here['path']}/users", json={"users": [user]})
    assert (refused.status_code, host in refused.text) == (400, True)
    demo.post(f"{here['path']}/users", json={"users": [{"name": "u", "password": "one"}]}).raise_for_status()
    assert demo.put(f"{here['path']}/users/u", json={"user": {"host": host}}).status_code == 400
    pymysql.connect(host=here["address"], user="u", password="one", ssl_disabled=True).close()


@pytest.mark.parametrize(
    ("charset", "collate"),
    [("utf8mb4", "utf8mb4_german1_ci"), ("latin1", "utf8mb4_bin"), ("klingon", None), (None, "x_ci")],
)
def test_a_pair_that_the_engine_has_not_costs_an_order_and_no_instance(
    demo: httpx.Client, here: dict[str, Any], charset: str | None, collate: str | None
) -> None:
    database = {
        "name": "d",
        **({"character_set": charset} if charset else {}),
        **({"collate": collate} if collate else {}),
    }
    assert demo.post(f"{here['path']}/databases", json={"databases": [database]}).status_code == 400
    ordered = demo.post("/instances", json=body("badpair", "mariadb", databases=[database]))
    assert ordered.status_code == 400, ordered.text
    assert "badpair" not in [each["name"] for each in demo.get("/instances").json()["instances"]]


def test_the_newest_collations_are_there(demo: httpx.Client, here: dict[str, Any]) -> None:
    wanted = [
        {"name": "a", "character_set": "utf8mb4", "collate": "uca1400_ai_ci"},
        {"name": "b", "collate": "utf8mb4_uca1400_german2_as_cs"},
        {"name": "c", "character_set": "utf8", "collate": "utf8_unicode_ci"},
    ]
    answer = demo.post(f"{here['path']}/databases", json={"databases": wanted})
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("name", ["u!1", "u*1", "u&1", "用户", "50%s", "a@b"])
def test_users_and_databases_of_unusual_names(demo: httpx.Client, here: dict[str, Any], name: str) -> None:
    assert demo.post(f"{here['path']}/databases", json={"databases": [{"name": name}]}).status_code == 202
    user = {"name": name, "password": "%s", "databases": [{"name": name}]}
    assert demo.post(f"{here['path']}/users", json={"users": [user]}).status_code == 202
    pymysql.connect(host=here["address"], user=name, password="%s", database=name, charset="utf8mb4").close()
    named = f"{here['path']}/users/{quote(f'{name}@%', safe='')}"
    assert demo.get(named).json()["user"]["databases"] == [{"name": name}]
    assert demo.delete(f"{named}/databases/{quote(name, safe='')}").status_code == 202


def test_a_lock_is_said_and_the_call_can_be_made_again(demo: httpx.Client, here: dict[str, Any]) -> None:
    root = demo.post(f"{here['path']}/root").json()["user"]
    with (
        pymysql.connect(host=here["address"], user="root", password=root["password"]) as session,
        session.cursor() as cursor,
    ):
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        refused = demo.delete(f"{here['path']}/databases/app")
        assert (refused.status_code, "user 'root'" in refused.text) == (422, True), refused.text
        assert refused.elapsed.total_seconds() < 10
        assert demo.get(f"{here['path']}/databases").json() == {"databases": [{"name": "app"}]}
    assert demo.delete(f"{here['path']}/databases/app").status_code == 202
    demo.delete(f"{here['path']}/root").raise_for_status()
