"""A stack for tests: the product's own, on free ports and in folders of its own, gone afterwards."""

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
from openstack.connection import Connection

from deploy import setup
from deploy.ranges import choose
from deploy.secrets import password
from deploy.seed import connect, disconnect
from deploy.settings import StackSettings
from deploy.stack import Stack
from deploy.supervisor import leftovers
from localcloud.links import tag_of
from tests import openapi
from tests.temporal import free_port, share

DOMAIN = {"id": "default"}
QUIET = """name: quiet
tags: [quiet]
grace: 1
processes:
  - {name: nothing, user: guest, command: [/bin/sleep, infinity]}
environment: {}
"""


class RunningStack:
    """Where the stack listens, and ways in from all sides."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.stack = Stack(settings)
        self._connections: dict[str, Connection] = {}
        # plain HTTP: to load the machine's certificates takes long; what it calls may be restarted between two calls
        self._http = httpx.Client(timeout=30, verify=False, limits=httpx.Limits(max_keepalive_connections=0))

    def cloud(self, name: str = "coffer") -> Connection:
        """OpenStack as one of the stack's users; `coffer` is the service's own."""
        if name not in self._connections:
            self._connections[name] = connect(self.settings, name)
        return self._connections[name]

    def sql(self, statement: str, *values: Any, database: str = "coffer") -> list[tuple[Any, ...]]:
        """Ask the records themselves, for half a minute at most."""
        with psycopg.connect(host="127.0.0.1", port=self.settings.records_port, user="coffer", dbname=database,
                             password=password(self.settings, "records"), autocommit=True,
                             options="-c statement_timeout=30s") as connection:  # fmt: skip
            cursor = connection.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def token(self, user: str, project: str | None = None) -> tuple[str, str]:
        """A token and the id of its project."""
        who = {"name": user, "domain": DOMAIN, "password": password(self.settings, user)}
        auth = {"identity": {"methods": ["password"], "password": {"user": who}},
                "scope": {"project": {"name": project or user, "domain": DOMAIN}}}  # fmt: skip
        answer = self._http.post(f"{self.settings.keystone_url}/auth/tokens", json={"auth": auth})
        answer.raise_for_status()
        return answer.headers["X-Subject-Token"], answer.json()["token"]["project"]["id"]

    def api(self, user: str) -> httpx.Client:
        """The API over TCP, below the user's project; each answer is held against the OpenAPI document."""
        token, project = self.token(user)
        return httpx.Client(
            base_url=f"{self.settings.api_url}/v1.0/{project}", headers={"X-Auth-Token": token}, timeout=60,
            verify=False, event_hooks={"response": [openapi.check]},
        )  # fmt: skip

    @cached_property
    def service_project(self) -> str:
        """The id of the service's own project."""
        return str(self.cloud("coffer").current_project_id)

    def fault(self, **rule: Any) -> None:
        """Tell the embedded cloud what is to go wrong."""
        self._http.post(self._faults, json=rule, headers=self._admin).raise_for_status()

    def no_more_faults(self) -> None:
        """Forget all rules."""
        self._http.delete(self._faults, headers=self._admin).raise_for_status()

    @property
    def _faults(self) -> str:
        return f"http://127.0.0.1:{self.settings.localcloud_port}/faults"

    @cached_property
    def _admin(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token("admin")[0]}

    def end(self) -> None:
        """Stop it."""
        self._http.close()
        for each in self._connections.values():
            disconnect(each)
        self.stack.down()

    def belongings(self, instance_id: object) -> list[str]:
        """What carries the instance's tag in OpenStack, by kind and id."""
        conn, name = self.cloud("coffer"), f"coffer-{instance_id}"
        found = [f"server {each.id}" for each in conn.compute.servers(name=f"^{name}")]
        found += [f"volume {each.id}" for each in conn.block_storage.volumes() if each.name.startswith(name)]
        found += [f"port {each.id}" for each in conn.network.ports() if each.name.startswith(name)]
        found += [f"security group {each.id}" for each in conn.network.security_groups(name=name)]
        found += [f"server group {each.id}" for each in conn.compute.server_groups() if each.name == name]
        found += [f"floating ip {each.id}" for each in conn.network.ips() if name in (each.description or "")]
        return found


def _swift_last(name: str) -> bool:
    return name == "swift_port"  # it has the next three ports, too


def _guest_range(home: str) -> str:
    """One that no other test run has."""
    if not StackSettings().isolated:
        return f"127.{random.randrange(81, 250)}.0.0/20"
    return str(choose(home, share()))


def test_settings(home: Path) -> StackSettings:
    """Settings on free ports; the environments and images are those of `make test`."""
    os.environ.setdefault("LOCALCLOUD_HOSTS", "2")  # servers can be migrated
    names = [name for name in StackSettings.model_fields if name.endswith("_port")]
    first = free_port(len(names) + 3)
    ports: dict[str, Any] = {name: first + number for number, name in enumerate(sorted(names, key=_swift_last))}
    return StackSettings(
        home=home / "home",
        open_home=home / "open",
        venvs=setup.home() / "venv",
        images=home / "open/images",
        control_venv="dev",
        embedded_venv="dev",
        guest_range=_guest_range(str(home)),
        server_delay=0.05,
        volume_delay=0.05,
        wait_for_disk=False,
        **ports,
    )


def lay_out_images(folder: Path) -> None:
    """The guests' images, and one whose server does nothing: its guest runs in the test's own process."""
    folder.mkdir(parents=True)
    for each in (setup.open_home() / "images").glob("*/manifest.yaml"):
        (folder / each.parent.name).symlink_to(each.parent)
    (folder / "quiet").mkdir()
    (folder / "quiet/manifest.yaml").write_text(QUIET)
    (folder / "quiet-again").mkdir()
    (folder / "quiet-again/manifest.yaml").write_text(QUIET.replace("[quiet]", "[postgresql-15]"))
    for need, least in (("min_disk", 9000), ("min_ram", 900_000)):
        (folder / need).mkdir()
        (folder / need / "manifest.yaml").write_text(f"{need}: {least}\n{QUIET.replace('quiet', need)}")
    for each in (folder.parent, folder, folder / "quiet", folder / "quiet-again"):
        each.chmod(0o755)


def network_of(settings: StackSettings) -> list[str]:
    """What the host's own tools show of a stack's network: links, namespaces, tables of the packet filter."""
    if not settings.isolated:
        return []
    tag = tag_of(settings.open_home / "cloud")
    commands = (["ip", "-o", "link"], ["ip", "netns"], ["nft", "list", "tables"])
    shown = [subprocess.run(each, capture_output=True, text=True, check=True).stdout for each in commands]
    return [line for text in shown for line in text.splitlines() if tag in line]


@contextlib.contextmanager
def running_stack() -> Iterator[RunningStack]:
    """Bring a stack up; afterwards nothing of it is left: no process, no loop device, no folder."""
    folder = Path(tempfile.mkdtemp(prefix="coffer-test-"))
    folder.chmod(0o755)
    settings = test_settings(folder)
    lay_out_images(settings.image_folder)
    running = RunningStack(settings)
    try:
        running.stack.up()
        yield running
    finally:
        running.end()
        left = leftovers(settings)
        loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
        assert not left, f"processes left behind: {left}"
        assert not (there := network_of(settings)), f"left behind on the host: {there}"
        for line in loops.splitlines():
            if str(folder) in line:  # volumes of instances that tests left on purpose
                subprocess.run(["losetup", "-d", line.split(":")[0]], check=False)
        shutil.rmtree(folder, ignore_errors=True)
