"""Ways into the running API, and one instance of each engine that the tests share."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.contracts.engines import DIALECTS
from tests.driver_process import REPOSITORY
from tests.stack import RunningStack

PATIENCE = 240.0  # seconds; a busy machine builds slowly


@pytest.fixture(scope="session")
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """A plain member of project demo."""
    with stack.api("demo") as client:
        yield client


@pytest.fixture(scope="session")
def admin(stack: RunningStack) -> Iterator[httpx.Client]:
    """An administrator in another project."""
    with stack.api("admin") as client:
        yield client


def body(name: str, datastore: str, **more: Any) -> dict[str, Any]:
    """An order."""
    return {
        "instance": {"name": name, "flavorRef": "1", "volume": {"size": 1}, "datastore": {"type": datastore}, **more}
    }


def order(client: httpx.Client, name: str, datastore: str, **more: Any) -> str:
    """Order an instance; return its id."""
    answer = client.post("/instances", json=body(name, datastore, **more))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["instance"]["id"])


def wait_for(client: httpx.Client, instance_id: str, status: str, *, patience: float = PATIENCE) -> dict[str, Any]:
    """Wait until an instance has a status (and is healthy when it is ACTIVE); return it."""
    deadline = time.monotonic() + patience
    while True:
        found: dict[str, Any] = client.get(f"/instances/{instance_id}").json()["instance"]
        if found["status"] == status and (status != "ACTIVE" or found["operating_status"] == "HEALTHY"):
            return found
        assert found["status"] != "ERROR" or status == "ERROR", found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def wait_until_gone(client: httpx.Client, instance_id: str) -> None:
    """Wait for the 404."""
    deadline = time.monotonic() + PATIENCE
    while client.get(f"/instances/{instance_id}").status_code != 404:
        assert time.monotonic() < deadline, client.get(f"/instances/{instance_id}").text
        time.sleep(0.1)


@pytest.fixture(scope="session")
def instances(demo: httpx.Client) -> dict[str, dict[str, Any]]:
    """One of each engine in project demo, by datastore."""
    ids = {each: order(demo, f"shared-{each}", each) for each in DIALECTS}
    return {each: wait_for(demo, instance_id, "ACTIVE") for each, instance_id in ids.items()}


@pytest.fixture(scope="session")
def openstack(stack: RunningStack) -> Iterator[Callable[..., Any]]:
    """The `openstack` command."""
    with openstack_command(stack) as run:
        yield run


@contextlib.contextmanager
def openstack_command(stack: RunningStack) -> Iterator[Callable[..., Any]]:
    """Run the client; return its JSON, or with `fails` what it says; with None exit code, output and errors, whatever comes."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "tests.clients.openstack_client"], cwd=REPOSITORY,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip

    def run(*words: str, cloud: str = "demo", fails: bool | None = False) -> Any:
        environment = {"OS_CLIENT_CONFIG_FILE": str(stack.settings.home / "clouds.yaml"), "OS_CLOUD": cloud}
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([environment, words]) + "\n")
        process.stdin.flush()
        code, output, errors = json.loads(process.stdout.readline())
        if fails is None:
            return code, output, errors
        assert (code != 0) == fails, errors
        if fails:
            return errors
        return json.loads(output) if "json" in words else output

    with process:
        yield run
