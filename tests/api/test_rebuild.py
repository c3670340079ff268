"""An instance on its image again through the API, with a real guest of a new generation that adopts the data."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from benchmarks.writer import Writer
from tests.api.conftest import order, wait_for, wait_until_gone
from tests.contracts.engines import DIALECTS
from tests.stack import RunningStack

NOBODYS = "00000000-0000-4000-8000-000000000000"  # the same in each of xdist's processes

ACTION = "/mgmt/instances/{}/action"


@pytest.fixture(params=DIALECTS)
def written(request: pytest.FixtureRequest, demo: httpx.Client) -> Iterator[tuple[dict[str, Any], Writer]]:
    """An instance that somebody writes to."""
    manager = request.param
    databases, users = [{"name": "app"}], [{"name": "amy", "password": "secret", "databases": [{"name": "app"}]}]
    instance_id = order(demo, f"rebuilt-{manager}", manager, databases=databases, users=users)
    found = wait_for(demo, instance_id, "ACTIVE")
    with Writer(manager, found["ip"][0], "amy", "secret", "app") as writer:
        yield found, writer
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)


def generation_of(stack: RunningStack, instance_id: str) -> int:
    """Of its guest."""
    found = stack.sql("SELECT generation FROM guest_identities WHERE instance_id = %s", instance_id)
    return int(found[0][0])


def test_the_data_is_kept_and_no_acknowledged_write_lost(
    stack: RunningStack, demo: httpx.Client, admin: httpx.Client, written: tuple[dict[str, Any], Writer]
) -> None:
    found, writer = written
    instance_id, version = found["id"], found["datastore"]
    images = {each.name: each.id for each in stack.cloud("coffer").image.images()}
    log = f"/instances/{instance_id}/log"
    assert demo.post(log, json={"name": "general", "enable": 1}).status_code == 200
    writer.wait_for(20)
    wanted = {"rebuild": {"image_id": images[f"{version['type']}-{version['version']}"]}}
    answer = admin.post(ACTION.format(instance_id), json=wanted)
    assert answer.status_code == 202, answer.text
    after = wait_for(demo, instance_id, "ACTIVE")
    done = demo.get(f"/instances/{instance_id}/operations").json()["operations"][0]
    assert (done["kind"], done["state"]) == ("rebuild", "DONE"), done
    assert (after["ip"], after["datastore"]) == (found["ip"], version)
    assert generation_of(stack, instance_id) == 2
    writer.wait_for(20)
    acknowledged = set(writer.acknowledged)
    assert acknowledged - set(writer.stored()) == set()
    made = demo.post(f"/instances/{instance_id}/databases", json={"databases": [{"name": "after"}]})
    assert demo.post(log, json={"name": "general"}).json()["log"]["status"] == "Ready"  # it is written still
    assert made.status_code == 202  # the administrator's account was adopted


def test_the_same_version_again_is_its_newest_image(
    stack: RunningStack, demo: httpx.Client, written: tuple[dict[str, Any], Writer]
) -> None:
    found, writer = written
    instance_id, version = found["id"], found["datastore"]["version"]
    writer.wait_for(20)
    change = {"instance": {"datastore_version": version, "name": "renamed"}}
    answer = demo.patch(f"/instances/{instance_id}", json=change)
    assert answer.status_code == 202, answer.text
    assert demo.get(f"/instances/{instance_id}").json()["instance"]["status"] == "UPGRADE"
    after = wait_for(demo, instance_id, "ACTIVE")
    assert (after["name"], after["datastore"]) == ("renamed", found["datastore"])
    done = demo.get(f"/instances/{instance_id}/operations").json()["operations"][0]
    assert (done["kind"], done["state"]) == ("upgrade", "DONE"), done
    assert generation_of(stack, instance_id) == 2
    writer.wait_for(20)
    acknowledged = set(writer.acknowledged)
    assert acknowledged - set(writer.stored()) == set()


@pytest.mark.parametrize("version", ["no-such", NOBODYS, None, "", "mariadb", 15])
def test_a_version_that_cannot_be_is_refused(
    demo: httpx.Client, instances: dict[str, dict[str, Any]], version: Any
) -> None:
    instance_id = instances["postgresql"]["id"]
    for verb in ("PUT", "PATCH"):
        change = {"instance": {"datastore_version": version, "name": "another"}}
        answer = demo.request(verb, f"/instances/{instance_id}", json=change)
        assert answer.status_code == 400, answer.text
    found = demo.get(f"/instances/{instance_id}").json()["instance"]
    assert (found["status"], found["name"]) == ("ACTIVE", "shared-postgresql")


def test_what_is_refused(
    stack: RunningStack, demo: httpx.Client, admin: httpx.Client, instances: dict[str, dict[str, Any]]
) -> None:
    instance_id = instances["postgresql"]["id"]
    images = {each.name: each.id for each in stack.cloud("coffer").image.images()}
    other = next(image for name, image in images.items() if name.startswith("mariadb"))
    path = ACTION.format(instance_id)
    for body, code, words in (
        ({"rebuild": {"image_id": other}}, 400, "is not for postgresql"),
        ({"rebuild": {"image_id": str(uuid4())}}, 400, "cannot be found"),
        ({"rebuild": {"image_id": "no-uuid"}}, 400, "image_id"),
        ({"rebuild": {}}, 400, "image_id"),
        ({"rebuild": None}, 400, "image_id"),
        ({"rebuild": {"image_id": other, "force": True}}, 400, "force"),
        ({}, 400, "exactly one action"),
        ({"explode": {}}, 400, "exactly one action"),
    ):
        answer = admin.post(path, json=body)
        assert (answer.status_code, words in answer.text) == (code, True), answer.text
    good = {"rebuild": {"image_id": other}}
    assert demo.post(path, json=good).status_code == 401
    assert admin.post(ACTION.format(uuid4()), json=good).status_code == 404
    assert demo.get(f"/instances/{instance_id}").json()["instance"]["status"] == "ACTIVE"
