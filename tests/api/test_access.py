"""Who may reach a database: changed through the API, enforced by the packet filter, shown at once."""

import socket
import time
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.api.conftest import PATIENCE, order, wait_for, wait_until_gone
from tests.api.test_faults import is_fault
from tests.localcloud.lan import needs_root
from tests.stack import RunningStack


def change(demo: httpx.Client, instance_id: str, access: Any, verb: str = "PUT") -> dict[str, Any]:
    """Change it, wait for the end of the operation; return what the view shows then."""
    answer = demo.request(verb, f"/instances/{instance_id}", json={"instance": {"access": access}})
    assert (answer.status_code, answer.content) == (202, b""), answer.text
    until_done(demo, instance_id)
    found: dict[str, Any] = demo.get(f"/instances/{instance_id}").json()["instance"]
    assert found["status"] == "ACTIVE"
    return found


def until_done(demo: httpx.Client, instance_id: str) -> None:
    """Wait for the end of the last operation, which is a change of access and ends well."""
    deadline = time.monotonic() + PATIENCE
    while (last := demo.get(f"/instances/{instance_id}/operations").json()["operations"][0])["state"] == "RUNNING":
        assert time.monotonic() < deadline, last
        time.sleep(0.05)
    assert (last["kind"], last["state"]) == ("change_access", "DONE"), last


def is_let_in(address: str, port: int) -> bool:
    """Whether a new connection from this host is let in."""
    try:
        with closing(socket.create_connection((address, port), 3)):
            return True
    except TimeoutError:
        return False


@pytest.fixture(scope="module")
def instance(demo: httpx.Client) -> Any:
    """One of these tests' own: others count on the shared ones being reached."""
    instance_id = order(demo, "access", "mariadb")
    yield wait_for(demo, instance_id, "ACTIVE")
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)


@needs_root
def test_it_is_enforced_and_shown_within_seconds(demo: httpx.Client, instance: dict[str, Any]) -> None:
    key, address = instance["id"], instance["ip"][0]
    assert is_let_in(address, 3306)
    found = change(demo, key, {"allowed_cidrs": ["192.0.2.7/24", "192.0.2.0/24"]})
    assert found["access"] == {"is_public": False, "allowed_cidrs": ["192.0.2.0/24"]}
    assert not is_let_in(address, 3306)
    found = change(demo, key, {"is_public": True}, "PATCH")
    assert found["access"] == {"is_public": True, "allowed_cidrs": ["192.0.2.0/24"]}
    (public,) = [each["address"] for each in found["addresses"] if each["type"] == "public"]
    assert not is_let_in(public, 3306)
    change(demo, key, {"allowed_cidrs": ["0.0.0.0/0", "192.0.2.0/24"]})
    assert is_let_in(address, 3306)
    assert is_let_in(public, 3306)
    found = change(demo, key, {"is_public": False, "allowed_cidrs": []})
    assert found["access"] == {"is_public": False, "allowed_cidrs": []}
    assert [each["type"] for each in found["addresses"]] == ["private"]
    assert is_let_in(address, 3306)


def test_two_hundred_cidrs_and_one_more(demo: httpx.Client, instance: dict[str, Any]) -> None:
    cidrs = [f"10.0.{number}.0/24" for number in range(200)]
    assert change(demo, instance["id"], {"allowed_cidrs": cidrs})["access"]["allowed_cidrs"] == cidrs
    more = {"instance": {"access": {"allowed_cidrs": [*cidrs, "10.1.0.0/24"]}}}
    assert "allowed_cidrs" in is_fault(demo.put(f"/instances/{instance['id']}", json=more), 400)
    change(demo, instance["id"], {"allowed_cidrs": []})


@pytest.mark.parametrize(
    ("access", "named"),
    [
        ({"allowed_cidrs": ["300.1.1.1/8"]}, "300.1.1.1/8"),
        ({"allowed_cidrs": ["::ffff:1.2.3.4/120"]}, "::ffff:1.2.3.4/120"),
        ({"allowed_cidrs": ["2001:db8::/32"]}, "2001:db8::/32"),
        ({"allowed_cidrs": ["10.0.0.0/255.0.0.0"]}, "255.0.0.0"),
        ({"allowed_cidrs": ["10.0.0.0/٨"]}, "10.0.0.0"),
        ({"allowed_cidrs": [""]}, "is not an IPv4 address"),
        ({"allowed_cidrs": "10.0.0.0/8"}, "allowed_cidrs"),
        ({"allowed_cidrs": [7]}, "allowed_cidrs"),
        ({"allowed_cidrs": None}, "null"),
        ({"is_public": "yes"}, "is_public"),
        ({"is_public": None}, "null"),
        ({"is_publick": True}, "is_publick"),
        (None, "access"),
        ([], "access"),
    ],
)
def test_what_is_refused_changes_nothing(demo: httpx.Client, instance: dict[str, Any], access: Any, named: str) -> None:
    before = demo.get(f"/instances/{instance['id']}/operations").json()["operations"]
    for verb in ("PUT", "PATCH"):
        answer = demo.request(verb, f"/instances/{instance['id']}", json={"instance": {"access": access}})
        assert named in is_fault(answer, 400)
    assert demo.get(f"/instances/{instance['id']}/operations").json()["operations"] == before


def test_sent_again_with_its_key_it_is_done_once(demo: httpx.Client, instance: dict[str, Any]) -> None:
    path = f"/instances/{instance['id']}/operations"
    before = len(demo.get(path).json()["operations"]) - 1  # but the creation
    headers = {"Idempotency-Key": "access-once"}
    for _ in range(2):
        body = {"instance": {"access": {"allowed_cidrs": ["10.9.0.0/16"]}}}
        assert demo.put(f"/instances/{instance['id']}", json=body, headers=headers).status_code == 202
    until_done(demo, instance["id"])
    change(demo, instance["id"], {"allowed_cidrs": []})
    kinds = [each["kind"] for each in demo.get(f"/instances/{instance['id']}/operations").json()["operations"]]
    assert kinds.count("change_access") == before + 2


def test_another_project_s_is_not_found(stack: RunningStack, admin: httpx.Client, demo: httpx.Client) -> None:
    body = {"instance": {"access": {"is_public": True}}}
    is_fault(demo.put("/instances/00000000-0000-4000-8000-000000000000", json=body), 404)
