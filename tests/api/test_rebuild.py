"""An instance on its image again through the API, with a real guest of a new generation that adopts the data."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from benchmarks.writer import Writer
from contract.domain.datastores import DATASTORES
from tests.api.conftest import PATIENCE, order, wait_for, wait_until_gone
from tests.api.test_ssl import enable
from tests.contracts.engines import DIALECTS
from tests.series.rows import digest_of_rows, make_rows
from tests.series.test_drivers import UPGRADED
from tests.stack import RunningStack
from tests.tls.certificates import Authority
from tests.tls.client import TlsClient

NOBODYS = "00000000-0000-4000-8000-000000000000"  # the same in each of xdist's processes

UPGRADERS = (b"/upgrade.cnf", b"bin/pg_upgrade")  # of MariaDB, of PostgreSQL
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


def encrypted(demo: httpx.Client, found: dict[str, Any], folder: Path) -> Callable[[], bool]:
    """Give an instance a certificate; return what asks whether it shows that one."""
    client = TlsClient(found["datastore"]["type"], found["ip"][0], "amy", "secret")
    authority = Authority()
    sent, ca = authority.server(client.address), authority.file(folder)
    path = f"/instances/{found['id']}/ssl"
    enable(demo, path, mode="basic", certificate=sent.chain, key=sent.key, ca=sent.ca)
    assert client.is_let_in(ca)
    return lambda: client.is_let_in(ca)


def test_the_data_is_kept_and_no_acknowledged_write_lost(
    stack: RunningStack, demo: httpx.Client, admin: httpx.Client, written: tuple[dict[str, Any], Writer], tmp_path: Path
) -> None:
    found, writer = written
    instance_id, version = found["id"], found["datastore"]
    shows_its_certificate = encrypted(demo, found, tmp_path)
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
    assert shows_its_certificate()
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


@pytest.fixture(params=UPGRADED)
def older(request: pytest.FixtureRequest, demo: httpx.Client) -> Iterator[tuple[dict[str, Any], Writer]]:
    """An instance of the older series that somebody writes to."""
    manager = request.param
    old = next(iter(DATASTORES[manager].upgrades))
    databases, users = [{"name": "app"}], [{"name": "amy", "password": "secret", "databases": [{"name": "app"}]}]
    wanted = {"type": manager, "version": old}
    answer = demo.post("/instances", json={"instance": {
        "name": f"upgraded-{manager}", "flavorRef": "1", "volume": {"size": 1}, "datastore": wanted,
        "databases": databases, "users": users,
    }})  # fmt: skip
    assert answer.status_code == 200, answer.text
    instance_id = answer.json()["instance"]["id"]
    found = wait_for(demo, instance_id, "ACTIVE")
    with DIALECTS[manager].connect(found["ip"][0], "amy", "secret", "app") as connection:
        make_rows(manager, connection)
    with Writer(manager, found["ip"][0], "amy", "secret", "app") as writer:
        yield found, writer
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)


def digest(found: dict[str, Any]) -> str:
    """Of all rows, as the tenant reads them."""
    manager = found["datastore"]["type"]
    with DIALECTS[manager].connect(found["ip"][0], "amy", "secret", "app") as connection:
        return digest_of_rows(manager, connection)


def last_operation(demo: httpx.Client, instance_id: str) -> dict[str, Any]:
    """The newest."""
    found: dict[str, Any] = demo.get(f"/instances/{instance_id}/operations").json()["operations"][0]
    return found


def kill_upgrade(instance_id: str) -> None:
    """The engine's own program, some way on, in the server of this instance."""
    deadline = time.monotonic() + PATIENCE
    while not any(is_upgrade(each, instance_id) and killed(each) for each in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_upgrade(process: Path, instance_id: str) -> bool:
    """Whether a process is that program."""
    try:
        if not any(each in (process / "cmdline").read_bytes() for each in UPGRADERS):
            return False
        return bool(json.loads((process / "root/etc/coffer/guest.json").read_text())["instance_id"] == instance_id)
    except OSError:
        return False


def killed(process: Path) -> bool:
    """End it."""
    with suppress(ProcessLookupError):
        os.kill(int(process.name), signal.SIGKILL)
        return True
    return False


def test_the_data_is_taken_along_or_all_is_as_it_was(
    demo: httpx.Client, older: tuple[dict[str, Any], Writer], openstack: Callable[..., Any], tmp_path: Path
) -> None:
    before, writer = older
    shows_its_certificate = encrypted(demo, before, tmp_path)
    instance_id, manager = before["id"], before["datastore"]["type"]
    (wanted,) = DATASTORES[manager].upgrades[before["datastore"]["version"]]
    writer.wait_for(20)
    rows, change = digest(before), {"instance": {"datastore_version": wanted}}

    assert demo.patch(f"/instances/{instance_id}", json=change).status_code == 202
    kill_upgrade(instance_id)
    after = wait_for(demo, instance_id, "ACTIVE")
    failed = last_operation(demo, instance_id)
    assert (failed["state"], "could not be upgraded" in failed["reason"]) == ("FAILED", True), failed["reason"]
    assert (after["datastore"], digest(after)) == (before["datastore"], rows)
    assert shows_its_certificate()

    openstack("database", "instance", "upgrade", instance_id, wanted)
    after = wait_for(demo, instance_id, "ACTIVE")
    done = last_operation(demo, instance_id)
    assert (done["kind"], done["state"]) == ("upgrade", "DONE"), done["reason"]
    assert (after["datastore"]["version"], after["ip"], digest(after)) == (wanted, before["ip"], rows)
    assert shows_its_certificate()
    writer.wait_for(20)
    assert set(writer.acknowledged) - set(writer.stored()) == set()
    made = demo.post(f"/instances/{instance_id}/databases", json={"databases": [{"name": "after"}]})
    assert made.status_code == 202, made.text

    answer = demo.patch(
        f"/instances/{instance_id}", json={"instance": {"datastore_version": before["datastore"]["version"]}}
    )
    assert (answer.status_code, "does not run on the data of a newer one" in answer.text) == (400, True), answer.text
