"""Backups through the API: what comes back into another instance, the lists, the strategies, and what is refused."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import PATIENCE, body, order, wait_for, wait_until_gone
from tests.contracts.engines import DIALECTS
from tests.stack import RunningStack

NOBODYS = "00000000-0000-4000-8000-000000000000"  # the same in each of xdist's processes
RESTORABLE = ("mariadb", "postgresql")


def message(answer: httpx.Response) -> tuple[int, str]:
    """A fault."""
    (fault,) = answer.json().values()
    return answer.status_code, str(fault["message"])


def completed(client: httpx.Client, backup_id: str) -> dict[str, Any]:
    """Wait until a backup is complete; return it."""
    deadline = time.monotonic() + PATIENCE
    while (found := client.get(f"/backups/{backup_id}").json()["backup"])["status"] != "COMPLETED":
        assert found["status"] in ("NEW", "BUILDING"), found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return dict(found)


def ask(manager: str, found: dict[str, Any], *statements: str) -> Sequence[Any]:
    """Have the tenant's user ask its database; the rows of the last question."""
    session = DIALECTS[manager].connect(found["ip"][0], "amy", "secret", "app")
    with contextlib.closing(session), contextlib.closing(session.cursor()) as cursor:
        for each in statements:
            cursor.execute(each)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.mark.parametrize("manager", RESTORABLE)
def test_what_was_there_comes_back_into_another_instance(stack: RunningStack, demo: httpx.Client, manager: str) -> None:
    databases, users = [{"name": "app"}], [{"name": "amy", "password": "secret", "databases": [{"name": "app"}]}]
    first = order(demo, f"backed-up-{manager}", manager, databases=databases, users=users)
    found = wait_for(demo, first, "ACTIVE")
    ask(manager, found, "CREATE TABLE kept (number INT)", "INSERT INTO kept VALUES (1), (2), (42)", "COMMIT")
    strategy = {"backup_strategy": {"instance_id": first, "swift_container": f"of-{manager}"}}
    assert demo.post("/backup_strategies", json=strategy).status_code == 202
    answer = demo.post("/backups", json={"backup": {"name": "b", "instance": first, "incremental": 0}})
    assert answer.status_code == 202, answer.text
    new = answer.json()["backup"]
    assert (new["status"], new["instance_id"], new["locationRef"], new["size"]) == ("NEW", first, None, None)
    backup = completed(demo, new["id"])
    assert f"/of-{manager}/{first}/{new['id']}/manifest.json" in backup["locationRef"]
    assert backup["size"] > 0
    wait_for(demo, first, "ACTIVE")
    assert [each["id"] for each in demo.get(f"/instances/{first}/backups").json()["backups"]] == [new["id"]]
    demo.delete(f"/instances/{first}")
    wait_until_gone(demo, first)
    restored = body(f"restored-{manager}", manager, restorePoint={"backupRef": new["id"]})
    second = demo.post("/instances", json=restored).json()["instance"]["id"]
    found = wait_for(demo, second, "ACTIVE")
    assert [row[0] for row in ask(manager, found, "SELECT number FROM kept ORDER BY number")] == [1, 2, 42]
    assert demo.delete(f"/backups/{new['id']}").status_code == 202
    deadline = time.monotonic() + PATIENCE
    while demo.get(f"/backups/{new['id']}").status_code != 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    token = demo.headers["X-Auth-Token"]
    container = backup["locationRef"].partition(f"/{first}/")[0]
    assert httpx.get(container, headers={"X-Auth-Token": token}, timeout=30).text.split() == []
    demo.delete(f"/instances/{second}")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"instance": NOBODYS}, 404, "cannot be found"),
        ({"parent_id": NOBODYS}, 501, "Incremental"),
        ({"incremental": 1}, 501, "Incremental"),
        ({"storage_driver": "cinder"}, 501, "snapshots"),
        ({"storage_driver": "tape"}, 400, "none of swift, cinder"),
        ({"swift_container": "../other"}, 400, "name of a container"),
        ({"swift_container": "a;reboot"}, 400, "name of a container"),
        ({"surplus": 1}, 400, "surplus"),
        ({"name": ""}, 400, "name"),
        (
            {
                "instance": None,
                "restore_from": {"remote_location": "x", "local_datastore_version_id": "v", "size": 0.5},
            },
            501,
            "restore_from",
        ),
    ],
)
def test_what_cannot_be_is_told(demo: httpx.Client, change: dict[str, Any], code: int, said: str) -> None:
    wanted = {key: value for key, value in {"name": "b", "instance": NOBODYS, **change}.items() if value is not None}
    answer = demo.post("/backups", json={"backup": wanted})
    assert message(answer)[0] == code
    assert said in message(answer)[1]


def test_lists_are_filtered_and_others_are_for_administrators(demo: httpx.Client, admin: httpx.Client) -> None:
    for query, code in (
        ("?datastore=mariadb", 200),
        ("?datastore=none", 404),
        ("?marker=x", 400),
        ("?marker=-1", 400),
        ("?limit=0", 200),
        ("?instance_id=x", 400),
        (f"?instance_id={NOBODYS}", 200),
        ("?all_projects=true", 403),
        ("?all_projects=maybe", 400),
        ("?project_id=another", 403),
    ):
        assert demo.get(f"/backups{query}").status_code == code, query
    for query in ("?all_projects=true", "?project_id=another"):
        assert admin.get(f"/backups{query}").status_code == 200
    for path in (f"/backups/{NOBODYS}", "/backups/x"):
        assert (demo.get(path).status_code, demo.delete(path).status_code) == (404, 404)
    assert demo.get(f"/instances/{NOBODYS}/backups").status_code == 404


def test_strategies(demo: httpx.Client, admin: httpx.Client) -> None:
    path, container = "/backup_strategies", f"c-{uuid4()}"
    for wanted, code in (
        ({"swift_container": "a;reboot"}, 400),
        ({"swift_container": container, "surplus": 1}, 400),
        ({"swift_container": container, "instance_id": NOBODYS}, 404),
        ({"swift_container": container, "instance_id": ""}, 202),
    ):
        assert demo.post(path, json={"backup_strategy": wanted}).status_code == code, wanted
    project = demo.base_url.path.strip("/").rpartition("/")[2]
    shown = {"project_id": project, "instance_id": "", "backend": "swift", "swift_container": container}
    assert shown in demo.get(path).json()["backup_strategies"]
    assert demo.get(path, params={"project_id": "another"}).status_code == 403
    assert shown in admin.get(path, params={"project_id": project}).json()["backup_strategies"]
    for _ in range(2):
        assert demo.delete(path).status_code == 202
    assert shown not in demo.get(path).json()["backup_strategies"]


def test_restoring_what_is_not_there(demo: httpx.Client) -> None:
    for reference in (NOBODYS, "x"):
        answer = demo.post("/instances", json=body("r", "mariadb", restorePoint={"backupRef": reference}))
        assert message(answer) == (404, f"Backup {reference} cannot be found.")
