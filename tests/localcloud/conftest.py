"""The embedded cloud under test: the stack's own, and a second, slow and small one for what is hard to see else."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.processes import base_environment
from deploy.settings import HERE
from tests.localcloud.processes import runs
from tests.stack import RunningStack
from tests.temporal import free_port

PATIENCE = 30.0


def until(what: str, look: Callable[[], Any]) -> Any:
    """Look again until there is something to see; return it."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not so after {PATIENCE:.0f} s: {what}"
        time.sleep(0.03)
    return seen


class Lab:
    """Servers of one project, made for a test and gone after it."""

    def __init__(self, stack: RunningStack, user: str) -> None:
        self.conn: Any = stack.cloud(user)  # its types promise less than it does
        self.cloud_folder = stack.settings.open_home / "cloud"
        self._made: list[str] = []

    def boot(self, image: str = "quiet", **more: Any) -> str:
        """Build a server and wait until its init says that it booted, and its processes run; return its id."""
        compute = self.conn.compute
        server = compute.create_server(
            name=f"of-a-test-{uuid4()}", flavor_id=compute.find_flavor("m1.tiny").id,
            image_id=self.conn.image.find_image(image, ignore_missing=False).id, **{"networks": "none", **more},
        )  # fmt: skip
        self._made.append(server.id)
        self.wait(server.id, "ACTIVE")
        until("booted", lambda: "init: booted" in self.console(server.id))
        until("its processes run", lambda: runs(server.id))
        return str(server.id)

    def wait(self, server_id: str, status: str) -> None:
        """Wait until a server has a status."""
        until(f"{server_id} is {status}", lambda: self.conn.compute.get_server(server_id).status == status)

    def console(self, server_id: str) -> str:
        """What a server has printed."""
        return str(self.conn.compute.get_server_console_output(server_id)["output"])

    def delete(self, server_id: str) -> None:
        """Delete a server and wait until it is not listed."""
        self.conn.compute.delete_server(server_id)
        until("gone", lambda: server_id not in [each.id for each in self.conn.compute.servers()])
        self._made.remove(server_id)

    def clear(self) -> None:
        """Delete what is left."""
        for each in list(self._made):
            self.delete(each)


@pytest.fixture
def lab(stack: RunningStack) -> Iterator[Lab]:
    """Servers of the service's project."""
    with contextlib.closing(_Closing(Lab(stack, "coffer"))) as made:
        yield made.lab


class _Closing:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.close = lab.clear


def localcloud_of(stack: RunningStack, user: str) -> httpx.Client:
    """The stack's embedded cloud over plain HTTP, to see bodies and headers."""
    return _client(stack, user, stack.settings.localcloud_port)


def _client(stack: RunningStack, user: str, port: int) -> httpx.Client:
    token, project = stack.token(user)
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"X-Auth-Token": token},
        params={},
        timeout=30,
        event_hooks={"request": [lambda request: _with_project(request, project)]},
    )


def _with_project(request: httpx.Request, project: str) -> None:
    """Let tests write PROJECT where Cinder's paths have the project's id."""
    request.url = httpx.URL(str(request.url).replace("/PROJECT/", f"/{project}/"))


@pytest.fixture(scope="module")
def small(stack: RunningStack) -> Iterator[httpx.Client]:
    """A cloud with delays that are long enough to see, and quotas that are soon used up; project demo."""
    port, settings = free_port(), stack.settings
    settings_of_it = {
        "STATE": settings.open_home / f"small-{port}", "IMAGES": settings.image_folder, "PORT": port,
        "KEYSTONE": settings.keystone_url, "PASSWORD_FILE": settings.secrets / "admin",
        "FIRST_UID": settings.first_uid + 900, "SERVER_DELAY": 0.5, "VOLUME_DELAY": 0.5, "DELETE_DELAY": 0.5,
        "STOP_GRACE": 2, "QUOTA_SERVERS": 2, "QUOTA_CORES": 5, "QUOTA_GIGABYTES": 3, "QUOTA_PORTS": 2,
    }  # fmt: skip
    environment = {f"LOCALCLOUD_{name}": str(value) for name, value in settings_of_it.items()}
    process = subprocess.Popen(
        [str(settings.embedded_python), "-m", "localcloud"], cwd=HERE, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**base_environment(settings), **environment},
    )  # fmt: skip
    try:
        with _client(stack, "demo", port) as client, _client(stack, "admin", port) as admin:
            until("the small cloud", lambda: answers(f"http://127.0.0.1:{port}/healthcheck"))
            for name, cpus in (("one", 1), ("six", 6)):
                flavor = {"name": name, "id": name, "ram": 64, "vcpus": cpus, "disk": 1}
                admin.post("/compute/v2.1/flavors", json={"flavor": flavor}).raise_for_status()
            yield client
    finally:
        process.terminate()
        process.wait(timeout=60)


def answers(url: str) -> bool:
    """Whether somebody is there."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).is_success
    return False
