"""Whatever is done with an instance, a client that connects anew goes on writing, and finds all that was acknowledged."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from benchmarks.interruptions import BY_ADMINISTRATORS, DONE, OPERATIONS
from benchmarks.writer import Writer
from tests.api.conftest import PATIENCE, order, wait_for, wait_until_gone
from tests.contracts.engines import DIALECTS


@pytest.fixture(params=DIALECTS)
def written(request: pytest.FixtureRequest, demo: httpx.Client) -> Iterator[tuple[str, Writer]]:
    """The path of an instance that somebody writes to."""
    manager = request.param
    databases, users = [{"name": "app"}], [{"name": "amy", "password": "secret", "databases": [{"name": "app"}]}]
    instance_id = order(demo, f"written-{manager}", manager, databases=databases, users=users)
    address = wait_for(demo, instance_id, "ACTIVE")["ip"][0]
    with Writer(manager, address, "amy", "secret", "app") as writer:
        yield f"/instances/{instance_id}", writer
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)


def test_no_acknowledged_write_is_lost(demo: httpx.Client, admin: httpx.Client, written: tuple[str, Writer]) -> None:
    path, writer = written
    for kind, ask in asking(demo, admin).items():
        writer.wait_for(20)
        answer = ask(path)
        assert answer.status_code in DONE, (kind, answer.text)
        wait_for_end(demo, path, kind)
        writer.wait_for(20)
        acknowledged = set(writer.acknowledged)
        assert acknowledged - set(writer.stored()) == set(), kind


def asking(demo: httpx.Client, admin: httpx.Client) -> dict[str, Callable[[str], httpx.Response]]:
    """How each operation is asked for: as the benchmark does it, and what is for administrators."""
    by_owner = {kind: partial(_ask, demo, *request) for kind, request in OPERATIONS.items()}
    access = {"instance": {"access": {"is_public": True}}}
    return {
        **by_owner,
        "change_access": lambda path: demo.put(path, json=access),
        **{kind: partial(_ask_as_administrator, admin, *request) for kind, request in BY_ADMINISTRATORS.items()},
        "migrate": lambda path: admin.post(f"/mgmt{path}/action", json={"migrate": {}}),
    }


def _ask(client: httpx.Client, method: str, below: str, body: Any, path: str) -> httpx.Response:
    return client.request(method, f"{path}{below}", json=body)


def _ask_as_administrator(client: httpx.Client, method: str, below: str, body: Any, path: str) -> httpx.Response:
    return client.request(method, f"/mgmt{path}{below}", json=body)


def wait_for_end(demo: httpx.Client, path: str, kind: str) -> None:
    """Wait until the instance's last operation, which is of that kind, is done."""
    deadline = time.monotonic() + PATIENCE
    while (last := demo.get(f"{path}/operations").json()["operations"][0])["state"] == "RUNNING":
        assert time.monotonic() < deadline, last
        time.sleep(0.1)
    assert (last["kind"], last["state"]) == (kind, "DONE"), last
    wait_for(demo, path.rpartition("/")[2], "ACTIVE")
