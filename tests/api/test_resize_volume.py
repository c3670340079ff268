"""A larger volume through the API, with real volumes: in each form of its size, a full one healed, what is refused."""

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import PATIENCE, order, wait_for, wait_until_gone
from tests.contracts.engines import ENGINES
from tests.stack import RunningStack
from tests.whole.inside import Server

GIB = 2**30
PASSWORD = "pa ss'word"


@pytest.fixture(params=ENGINES)
def grown(request: pytest.FixtureRequest, demo: httpx.Client) -> Iterator[dict[str, Any]]:
    """An instance of a test's own, of each engine."""
    user = {"name": "amy", "password": PASSWORD, "databases": [{"name": "app"}]}
    instance_id = order(demo, f"grown-{request.param}", request.param, databases=[{"name": "app"}], users=[user])
    yield wait_for(demo, instance_id, "ACTIVE")
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)


def resize(demo: httpx.Client, instance_id: str, volume: Any) -> httpx.Response:
    """Ask for a size."""
    return demo.post(f"/instances/{instance_id}/action", json={"resize": {"volume": volume}})


def charged(stack: RunningStack, instance_id: str) -> int:
    """GiB that the quota is charged."""
    found = stack.sql("SELECT amount FROM charges WHERE thing_id = %s AND resource = 'volumes'", instance_id)
    return int(found[0][0])


def until_seen(stack: RunningStack, instance_id: str, least: float) -> None:
    """Wait until the watch has reported a file system of so many bytes."""
    deadline = time.monotonic() + PATIENCE
    while stack.sql("SELECT volume_total_bytes FROM instances WHERE id = %s", instance_id)[0][0] < least:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_volume_grows_in_each_form_of_the_size(
    stack: RunningStack, demo: httpx.Client, grown: dict[str, Any]
) -> None:
    instance_id = grown["id"]
    for number, volume in ((2, {"size": 2}), (3, 3), (4, {"size": "4"})):
        answer = resize(demo, instance_id, volume)
        assert answer.status_code == 202, answer.text
        found = wait_for(demo, instance_id, "ACTIVE")
        assert (found["volume"]["size"], charged(stack, instance_id)) == (number, number)
        assert "fault" not in found
        if os.geteuid() == 0:
            until_seen(stack, instance_id, 0.9 * number * GIB)
    operations = demo.get(f"/instances/{instance_id}/operations").json()["operations"]
    assert [(each["kind"], each["state"]) for each in operations][:3] == [("resize_volume", "DONE")] * 3


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, there are no volumes")
def test_a_full_volume_is_healed_by_a_larger_one(
    stack: RunningStack, demo: httpx.Client, grown: dict[str, Any]
) -> None:
    instance_id = grown["id"]
    server = Server.of(stack, instance_id)
    fill = ["nsenter", "--target", str(server.worker), "--mount", "--root", "/usr/bin/dd", "if=/dev/zero", "bs=1M",
            "of=/var/lib/database/ballast"]  # fmt: skip
    subprocess.run(fill, capture_output=True, check=False)  # ends when nothing is left
    deadline = time.monotonic() + PATIENCE
    while demo.get(f"/instances/{instance_id}").json()["instance"]["operating_status"] != "BLOCKED":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert demo.post(f"/instances/{instance_id}/databases", json={"databases": [{"name": "new"}]}).status_code == 422
    assert resize(demo, instance_id, {"size": 2}).status_code == 202
    wait_for(demo, instance_id, "ACTIVE")
    assert demo.post(f"/instances/{instance_id}/databases", json={"databases": [{"name": "new"}]}).status_code == 202


@pytest.mark.parametrize(
    ("volume", "refusal"),
    [
        ({"size": 1}, (400, "must be larger than the current volume size of '1'")),
        (1, (400, "must be larger")),
        ({"size": 0}, (400, "size")),
        ({"size": -2}, (400, "size")),
        ({"size": 1.5}, (400, "whole number")),
        ({"size": True}, (400, "whole number")),
        (True, (400, "volume")),
        ({"size": "two"}, (400, "whole number")),
        ({"size": 2**40}, (400, "size")),
        ({}, (400, "size")),
        (None, (400, "needs either flavorRef or volume")),
        ([2], (400, "volume")),
        ({"size": 2, "type": "fast"}, (400, "type")),
        ({"size": 1001}, (413, "cannot exceed maximum of 1000 GB")),
        ({"size": 900}, (413, "Quota exceeded for resources: ['volumes']")),
    ],
)
def test_what_is_refused_changes_nothing(
    stack: RunningStack, demo: httpx.Client, instances: dict[str, dict[str, Any]], volume: Any, refusal: tuple[int, str]
) -> None:
    instance_id = instances["postgresql"]["id"]
    answer = resize(demo, instance_id, volume)
    code, words = refusal
    assert answer.status_code == code, answer.text
    assert words in answer.text
    found = demo.get(f"/instances/{instance_id}").json()["instance"]
    assert (found["status"], found["volume"]["size"], charged(stack, instance_id)) == ("ACTIVE", 1, 1)


def test_cinder_s_own_quota_is_said_and_ours_is_given_back(
    stack: RunningStack, demo: httpx.Client, instances: dict[str, dict[str, Any]]
) -> None:
    instance_id = instances["mariadb"]["id"]
    text = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota."
    stack.fault(service="volume", method="POST", path="/action", status=413,
                answer={"overLimit": {"code": 413, "message": text}})  # fmt: skip
    try:
        assert resize(demo, instance_id, {"size": 2}).status_code == 202
        found = wait_for(demo, instance_id, "ACTIVE")
    finally:
        stack.no_more_faults()
    assert (found["volume"]["size"], charged(stack, instance_id)) == (1, 1)
    operation = demo.get(f"/instances/{instance_id}/operations").json()["operations"][0]
    assert operation["state"] == "FAILED"
    assert "the cloud's own quota is used up" in operation["reason"]
