"""What guests are known by, over the life of real ones: keys rotated, tokens changed, servers restarted, guests revoked."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy import temporal
from deploy.processes import control_environment, guest_key_file
from tests.api.conftest import order, wait_for, wait_until_gone
from tests.driver_process import REPOSITORY
from tests.stack import RunningStack


@dataclass
class Instance:
    """One database with its real guest, and what its owner does with it."""

    stack: RunningStack
    demo: httpx.Client
    id: str
    users: int = 0

    @property
    def server(self) -> str:
        """The Nova server's id."""
        return str(next(iter(self.stack.cloud("coffer").compute.servers(name=f"coffer-{self.id}"))).id)

    @property
    def root(self) -> Path:
        """The server's disk."""
        return self.stack.settings.open_home / "cloud/servers" / self.server / "root"

    def known(self) -> dict[str, Any]:
        """What the guest keeps of its identity."""
        found: dict[str, Any] = json.loads((self.root / "var/lib/guest/identity.json").read_text())
        return found

    def row(self) -> dict[str, Any]:
        """What the records keep of it."""
        names = ("generation", "token_hash", "previous_hash", "revoked", "doubles")
        rows = self.stack.sql(f"SELECT {', '.join(names)} FROM guest_identities WHERE instance_id = %s", self.id)
        return dict(zip(names, rows[0], strict=True))

    def use(self) -> None:
        """Make a user with a sealed password, as a tenant does: again while the guest is not back, which changes nothing."""
        wanted = {"users": [{"name": f"user{self.users + 1}", "password": "S3cret-word"}]}
        self.answered("POST", 202, json=wanted)
        self.users += 1
        there = self.answered("GET", 200).json()["users"]
        assert len(there) == self.users

    def answered(self, method: str, code: int, **more: Any) -> httpx.Response:
        """Ask about users until the answer is no 503 any more."""
        deadline = time.monotonic() + 90
        while (answer := self.demo.request(method, f"/instances/{self.id}/users", **more)).status_code == 503:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.5)
        assert answer.status_code == code, answer.text
        return answer

    def ask(self, *words: str) -> str:
        """Temporal's CLI, as an operator has it."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.stack.settings.home),
                       "TEMPORAL_ADDRESS": f"127.0.0.1:{self.stack.settings.temporal_port}",
                       "TEMPORAL_NAMESPACE": temporal.NAMESPACE}  # fmt: skip
        program = temporal.binary(self.stack.settings.embedded_python)
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def instance(stack: RunningStack) -> Iterator[Instance]:
    """A PostgreSQL whose guest has enrolled at the gateway."""
    with stack.api("demo") as demo:
        found = Instance(stack, demo, order(demo, "with-identity", "postgresql"))
        wait_for(demo, found.id, "ACTIVE", patience=180)
        yield found
        assert demo.delete(f"/instances/{found.id}").status_code == 202
        wait_until_gone(demo, found.id)
        row = found.row()
        assert row["revoked"] is not None
        assert row["token_hash"] is None


def test_user_data_is_worthless_once_the_guest_has_enrolled(stack: RunningStack, instance: Instance) -> None:
    """Whoever reads it finds a ticket that is spent, and no key; a second server with it gets nothing."""
    boot = json.loads((instance.root / "etc/coffer/guest.json").read_text())
    assert sorted(boot) == ["ca", "datastore", "gateway", "generation", "instance_id", "namespace", "ticket", "version"]
    boot["gateway"] = f"127.0.0.1:{stack.settings.gateway_port}"  # where it is for a process of the host
    second = Path(stack.settings.open_home) / "second-server"
    for name in ("etc/coffer", "var/lib/guest"):
        (second / name).mkdir(parents=True)
    (second / "etc/coffer/guest.json").write_text(json.dumps(boot))
    done = subprocess.run([sys.executable, "-m", "guest_worker.identity", "enrol"], cwd=REPOSITORY,
                          env={**os.environ, "ROOT": str(second)}, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 77, done.stderr
    assert "PERMISSION_DENIED" in done.stderr
    assert instance.row()["doubles"] == 1
    log = (stack.settings.log / "activity-worker.log").read_text()
    assert f"SECURITY a second enrolment for instance {instance.id}" in log
    with stack.api("admin") as admin:
        told = admin.get(f"/mgmt/instances/{instance.id}").json()["instance"]["guest"]
    assert (told["refused_enrolments"], told["generation"], told["revoked"]) == (1, 1, None)
    instance.use()


def test_the_master_key_is_rotated_under_running_guests(stack: RunningStack, instance: Instance) -> None:
    instance.use()
    environment = {**os.environ, **control_environment(stack.settings),
                   "COFFER_GUEST_KEY_FILE": str(guest_key_file(stack.settings))}  # fmt: skip
    before = {name: stack.stack.supervisor.states()[name]["pid"] for name in ("api", "gateway", "workflow-worker")}
    subprocess.run([sys.executable, "-m", "contract.keys", "rotate"], cwd=REPOSITORY, env=environment, check=True)
    deadline = time.monotonic() + 60
    while instance.known()["credentials"]["current"] != 2:  # whoever seals for it looks for new keys once a second
        assert time.monotonic() < deadline
        instance.use()
    restarted = instance.demo.post(f"/instances/{instance.id}/action", json={"restart": {}})
    assert restarted.status_code == 202
    wait_for(instance.demo, instance.id, "ACTIVE", patience=180)
    instance.use()
    assert {name: stack.stack.supervisor.states()[name]["pid"] for name in before} == before


def test_the_token_is_changed_while_the_guest_runs(stack: RunningStack, instance: Instance) -> None:
    before, old = instance.known()["token"], instance.row()["token_hash"]
    instance.ask("activity", "start", "--activity-id", f"call/{instance.id}/renew-by-hand", "--type", "renew_token",
                 "--task-queue", f"guest/{instance.id}", "--start-to-close-timeout", "30s")  # fmt: skip
    deadline = time.monotonic() + 60
    while instance.row()["token_hash"] == old:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    instance.use()
    assert instance.known()["token"] != before
    assert instance.row()["previous_hash"] == old


def test_a_guest_that_is_killed_comes_back_as_itself(stack: RunningStack, instance: Instance) -> None:
    listed = subprocess.run(["ps", "axeww", "-o", "pid,args"], capture_output=True, text=True).stdout.splitlines()
    (pid,) = [int(line.split()[0]) for line in listed if instance.server in line and "-m guest_worker " in line]
    row = instance.row()
    os.kill(pid, signal.SIGKILL)
    instance.use()
    assert instance.row() == row


def test_a_revoked_guest_is_heard_no_more_and_its_database_serves(stack: RunningStack, instance: Instance) -> None:
    """The documented command of an operator."""
    instance.use()
    said = instance.ask("activity", "execute", "--activity-id", f"revoke/{instance.id}", "--type", "revoke_guest",
                        "--task-queue", "records", "--start-to-close-timeout", "30s",
                        "--input", f'"{instance.id}"')  # fmt: skip
    assert instance.row()["revoked"] is not None, said
    deadline = time.monotonic() + 90
    while f"guest {instance.id} is known no more" not in (stack.settings.log / "gateway.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    unheard = instance.demo.get(f"/instances/{instance.id}/users")
    assert unheard.status_code in (422, 503), unheard.text  # 422: the watch has seen it already
    address = instance.demo.get(f"/instances/{instance.id}").json()["instance"]["ip"][0]
    socket.create_connection((address, 5432), timeout=5).close()
