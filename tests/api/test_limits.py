"""Requests a minute: counted for each project and verb, told, refused with 413; and what administrators see and may."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.rate_limits import MOST, RateLimits
from deploy.processes import base_environment, control_environment
from tests.api.conftest import order, wait_for, wait_until_gone
from tests.api.test_faults import is_fault
from tests.stack import RunningStack
from tests.temporal import free_port

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_a_minute_s_requests_and_fills_up_again() -> None:
    clock = Clock()
    limits = RateLimits({"GET": 60, "POST": 0}, clock)
    assert [limits.take("p", "GET") for _ in range(60)] == [0.0] * 60
    assert limits.take("p", "GET") == pytest.approx(1.0)
    assert limits.take("q", "GET") == 0  # another project
    assert [limits.take("p", "POST") for _ in range(100)] == [0.0] * 100  # no limit
    assert limits.take("p", "HEAD") == 0
    clock.now += 0.5
    assert limits.take("p", "GET") == pytest.approx(0.5)
    clock.now += 0.5
    assert limits.take("p", "GET") == 0
    clock.now += 3600
    (view,) = limits.views("p")
    assert (view["remaining"], view["value"], view["unit"]) == (60, 60, "MINUTE")


def test_of_what_is_full_again_nothing_is_remembered() -> None:
    clock = Clock()
    limits = RateLimits({"GET": 2}, clock)
    for number in range(MOST):
        limits.take(f"p{number}", "GET")
    clock.now += 61
    limits.take("another", "GET")
    assert len(limits._buckets) == 1


@pytest.fixture(scope="module")
def limited(stack: RunningStack) -> Iterator[str]:
    """Another process of the API, with limits."""
    port = free_port()
    environment = {**base_environment(stack.settings), **control_environment(stack.settings),
                   "COFFER_API_PORT": str(port), **{f"COFFER_RATE_{each}": "5" for each in VERBS}}  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "api"], env=environment, cwd=Path.cwd())
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def through(client: httpx.Client, limited: str) -> httpx.Client:
    """The same caller, at the other process."""
    path = client.base_url.path
    return httpx.Client(base_url=f"{limited}{path}", headers=client.headers, timeout=60)


def test_one_too_many_is_413_with_retry_after(demo: httpx.Client, admin: httpx.Client, limited: str) -> None:
    with through(demo, limited) as client:
        first = client.get("/limits").json()["limits"]
        assert first[0]["verb"] == "ABSOLUTE"
        assert [(each["verb"], each["value"], each["remaining"]) for each in first[1:]] == [
            (verb, 5, 4 if verb == "GET" else 5) for verb in VERBS
        ]
        assert first[1]["nextAvailable"].endswith("Z")
        for _ in range(4):
            assert client.get("/limits").status_code == 200
        refused = client.get("/limits")
        assert refused.status_code == 413
        fault = refused.json()["overLimit"]
        assert fault["message"] == "This request was rate-limited."
        assert fault["details"] == "Only 5 GET request(s) can be made to * every minute."
        assert refused.headers["retry-after"] == fault["retryAfter"]
        assert 1 <= int(fault["retryAfter"]) <= 12
        for _ in range(5):
            assert client.post("/instances", json={}).status_code == 400  # a bucket of its own
        assert client.post("/instances", json={}).status_code == 413
        time.sleep(int(fault["retryAfter"]))
        assert client.get("/limits").status_code == 200
    with through(admin, limited) as client:
        assert [client.get("/limits").status_code for _ in range(12)] == [200] * 12
        assert len(client.get("/limits").json()["limits"]) == 1


def test_deleted_instances_are_listed_as_asked_for(demo: httpx.Client, admin: httpx.Client) -> None:
    instance_id = order(demo, "to-be-deleted", "mariadb")
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)

    def listed(query: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        url = f"/mgmt/instances?{query}"
        while True:
            page = admin.get(url).json()
            found |= {each["id"]: each for each in page["instances"]}
            if "links" not in page:
                return found
            url = page["links"][0]["href"]

    project = str(demo.base_url).rstrip("/").rsplit("/", 1)[1]
    assert instance_id in listed(f"deleted=true&project_id={project}")
    assert instance_id not in listed(f"deleted=False&project_id={project}")
    assert instance_id in listed(f"project_id={project}")
    assert all(each["deleted"] for each in listed("deleted=true&limit=1").values())
    assert listed(f"project_id={project}")[instance_id]["deleted_at"]
    is_fault(admin.get(f"/mgmt/instances/{instance_id}"), 404)
    assert admin.get(f"/mgmt/instances/{instance_id}?deleted=true").json()["instance"]["deleted"] is True
    is_fault(admin.get("/mgmt/instances?deleted=maybe"), 400)


def test_a_status_that_was_reset_heals_within_a_minute(
    demo: httpx.Client, admin: httpx.Client, instances: dict[str, dict[str, Any]]
) -> None:
    key = instances["mariadb"]["id"]
    assert admin.post(f"/instances/{key}/action", json={"reset_status": {}}).status_code == 202
    deadline = time.monotonic() + 60
    while demo.get(f"/instances/{key}").json()["instance"]["status"] != "ACTIVE":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    found = wait_for(demo, key, "ACTIVE")
    assert "fault" not in found


def test_root_history(demo: httpx.Client, admin: httpx.Client, instances: dict[str, dict[str, Any]]) -> None:
    key = instances["postgresql"]["id"]
    before = admin.get(f"/mgmt/instances/{key}/root").json()["root_history"]
    assert before["id"] == key
    assert demo.post(f"/instances/{key}/root").status_code == 200
    assert demo.delete(f"/instances/{key}/root").status_code == 204
    after = admin.get(f"/mgmt/instances/{key}/root").json()["root_history"]
    assert after["enabled"] != "Never"
    assert len(after["user"]) == 32  # Keystone's id
    is_fault(admin.get("/mgmt/instances/00000000-0000-4000-8000-000000000000/root"), 404)
