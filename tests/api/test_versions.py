"""Datastores and their versions as administrators change them, and what a version may be ordered with."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import body, order, wait_for, wait_until_gone
from tests.api.test_faults import is_fault
from tests.stack import RunningStack

PATH = "/mgmt/datastore-versions"


@pytest.fixture(scope="module")
def image(stack: RunningStack) -> str:
    """Glance's id of MariaDB's image."""
    return str(next(each.id for each in stack.cloud("admin").image.images() if "mariadb" in each.name))


@pytest.fixture
def clean(stack: RunningStack) -> Iterator[None]:
    """What these tests add is gone afterwards."""
    yield
    stack.sql("UPDATE datastores SET default_version_id = NULL WHERE name LIKE 'own%%'")
    stack.sql("UPDATE datastore_versions SET removed = true, active = false WHERE datastore_id IN"
              " (SELECT id FROM datastores WHERE name LIKE 'own%%')")  # fmt: skip
    stack.sql("UPDATE datastores SET removed = true WHERE name LIKE 'own%%'")


def new(**more: Any) -> dict[str, Any]:
    """A body that adds a version."""
    usual = {"name": "1", "datastore_name": "own", "datastore_manager": "mariadb", "active": True}
    return {"version": {key: value for key, value in {**usual, **more}.items() if value is not ...}}


def versions(admin: httpx.Client, name: str = "own") -> list[dict[str, Any]]:
    """Those of a datastore, as management lists them."""
    return [each for each in admin.get(PATH).json()["versions"] if each["datastore_name"] == name]


@pytest.mark.usefixtures("clean")
def test_the_whole_life_of_a_version(stack: RunningStack, demo: httpx.Client, admin: httpx.Client, image: str) -> None:
    added = admin.post(PATH, json=new(image=image, default=True, version="10.11", packages="a,b", image_tags=[]))
    assert (added.status_code, added.content) == (202, b"")
    (found,) = versions(admin)
    assert (found["name"], found["version"], found["image"]) == ("1", "10.11", image)
    assert (found["active"], found["default"], found["packages"]) == (True, True, ["a", "b"])
    key = found["id"]
    assert demo.get("/datastores/own").json()["datastore"]["default_version"] == key
    assert "exists already" in is_fault(admin.post(PATH, json=new(image=image, version="10.11")), 400)
    instance_id = order(demo, "of-own", "own")
    wait_for(demo, instance_id, "ACTIVE")
    assert "in use" in is_fault(admin.delete(f"{PATH}/{key}"), 400)
    assert "in use" in is_fault(admin.patch(f"{PATH}/{key}", json={"datastore_manager": "postgresql"}), 400)
    assert "has versions" in is_fault(admin.delete("/datastores/own"), 400)
    tags = list(stack.cloud("admin").image.get_image(image).tags)
    changes = {"active": False, "default": False, "name": "one", "image": None, "image_tags": tags}
    assert admin.patch(f"{PATH}/{key}", json=changes).status_code == 202
    found = admin.get(f"{PATH}/{key}").json()["version"]
    assert (found["active"], found["default"], found["name"]) == (False, False, "one")
    assert (found["image"], found["image_tags"]) == ("", tags)
    is_fault(demo.get("/datastores/own"), 404)  # no active version
    is_fault(demo.post("/instances", json=body("x", "own")), 400)
    assert demo.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(demo, instance_id)
    assert admin.delete(f"{PATH}/{key}").status_code == 202
    assert versions(admin) == []
    is_fault(admin.get(f"{PATH}/{key}"), 400)
    assert admin.get(f"/mgmt/instances/{instance_id}?deleted=true").json()["instance"]["datastore"]["type"] == "own"
    is_fault(demo.delete("/datastores/own"), 403)
    assert admin.delete("/datastores/own").status_code == 202
    is_fault(admin.get("/datastores/own"), 404)
    assert admin.post(PATH, json=new(image=image, version="10.11")).status_code == 202  # the name is free again
    assert admin.delete(f"{PATH}/{versions(admin)[0]['id']}").status_code == 202


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image": ...}, "image"),
        ({"image": ..., "image_tags": []}, "image"),
        ({"image": "00000000-0000-4000-8000-000000000000"}, "cannot be found"),
        ({"image": "mariadb"}, "image"),
        ({"image": ..., "image_tags": ["no-such-tag"]}, "no-such-tag"),
        ({"image_tags": ["a"] * 6}, "image_tags"),
        ({"datastore_manager": "oracle"}, "oracle"),
        ({"datastore_manager": ...}, "datastore_manager"),
        ({"active": ...}, "active"),
        ({"active": "yes"}, "active"),
        ({"name": ""}, "name"),
        ({"name": "--"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"registry_ext": "trove.x"}, "registry_ext"),
        ({"repl_strategy": "trove.x"}, "repl_strategy"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_cannot_be_added_is_refused(admin: httpx.Client, image: str, change: dict[str, Any], named: str) -> None:
    before = admin.get(PATH).json()
    assert named in is_fault(admin.post(PATH, json=new(**{"image": image, **change})), 400)
    assert admin.get(PATH).json() == before


def test_what_cannot_be_changed_is_refused(demo: httpx.Client, admin: httpx.Client, image: str) -> None:
    (known,) = versions(admin, "mariadb")[:1]
    for change, named in (
        ({"version": "11"}, "version"),
        ({"image": "00000000-0000-4000-8000-000000000000"}, "cannot be found"),
        ({"image": None, "image_tags": []}, "needed"),
        ({"datastore_manager": "oracle"}, "oracle"),
        ({"default": "true"}, "default"),
    ):
        assert named in is_fault(admin.patch(f"{PATH}/{known['id']}", json=change), 400)
    nobody = "00000000-0000-4000-8000-000000000000"
    for wanted in (nobody, "x"):
        is_fault(admin.patch(f"{PATH}/{wanted}", json={"active": True}), 400)
        is_fault(admin.delete(f"{PATH}/{wanted}"), 400)
    is_fault(admin.delete("/datastores/nothing"), 404)
    for verb, path in (("POST", PATH), ("PATCH", f"{PATH}/{known['id']}"), ("DELETE", f"{PATH}/{known['id']}")):
        is_fault(demo.request(verb, path, json=new(image=image)), 401)
    assert versions(admin, "mariadb")[0] == known


@pytest.mark.usefixtures("clean")
def test_a_version_is_ordered_with_what_the_operator_has_named(
    stack: RunningStack, demo: httpx.Client, admin: httpx.Client, image: str
) -> None:
    assert (
        admin.post(PATH, json=new(datastore_name="own2", image=image, version="10.11", default=True)).status_code == 202
    )
    (found,) = versions(admin, "own2")
    base = f"/datastores/own2/versions/{found['id']}"
    everything = demo.get(f"{base}/flavors").json()["flavors"]
    types = demo.get(f"{base}/volume-types").json()["volume_types"]
    stack.sql(
        "UPDATE datastore_versions SET flavors = '{m1.small}', volume_types = '{gold}' WHERE id = %s", found["id"]
    )
    offered = demo.get(f"{base}/flavors").json()["flavors"]
    assert [each["name"] for each in offered] == ["m1.small"]
    assert len(everything) > 1
    assert demo.get(f"{base}/volume-types").json()["volume_types"] == []
    refused = demo.post("/instances", json=body("x", "own2"))
    assert "Flavor 'm1.tiny' is not offered" in is_fault(refused, 400)
    wrong = body("x", "own2", flavorRef="2", volume={"size": 1, "type": types[0]["name"]})
    assert "Volume type" in is_fault(demo.post("/instances", json=wrong), 400)
    instance_id = order(demo, "of-own2", "own2", flavorRef="2")
    wait_for(demo, instance_id, "ACTIVE")
    resize = demo.post(f"/instances/{instance_id}/action", json={"resize": {"flavorRef": "1"}})
    assert "is not offered" in is_fault(resize, 400)
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)
