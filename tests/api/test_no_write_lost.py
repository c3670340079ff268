"""Whatever is done with an instance, a client that connects anew goes on writing, and finds all that was acknowledged."""

from collections.abc import Iterator

import httpx
import pytest

from benchmarks.interruptions import OPERATIONS
from benchmarks.writer import Writer
from tests.api.conftest import order, wait_for, wait_until_gone
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


def test_no_acknowledged_write_is_lost(demo: httpx.Client, written: tuple[str, Writer]) -> None:
    path, writer = written
    for kind, (method, below, body) in OPERATIONS.items():
        writer.wait_for(20)
        answer = demo.request(method, path + below, json=body)
        assert answer.status_code == 202, (kind, answer.text)
        wait_for(demo, path.rpartition("/")[2], "ACTIVE")
        done = demo.get(f"{path}/operations").json()["operations"][0]
        assert (done["kind"], done["state"]) == (kind, "DONE"), done
        writer.wait_for(20)
        acknowledged = set(writer.acknowledged)
        stored = writer.stored()
        assert acknowledged - set(stored) == set(), kind
