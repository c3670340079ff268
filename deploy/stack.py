"""Up, down, status: the stack as a whole."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx

from deploy import postgres
from deploy.processes import base_environment, control_environment, gateway_folder, guest_key_file
from deploy.secrets import make_secrets, write_clients, write_keystone_seed
from deploy.settings import HERE, StackSettings
from deploy.supervisor import Supervisor, taken_ports, wait_for


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Refused(Exception):
    """The stack cannot start; the message says what to do."""


class Stack:
    """The processes of one home."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.supervisor = Supervisor(settings)

    def up(self) -> None:
        """Start what does not run; return when all of it answers."""
        self._make_folders()
        with self._alone():
            self._up()

    def make_files(self) -> None:
        """Make the secrets and the files that clients read."""
        self._make_folders()
        with self._alone():
            make_secrets(self.settings)
            write_clients(self.settings)

    def _make_folders(self) -> None:
        for folder in (self.settings.home, self.settings.run, self.settings.log, self.settings.home / "temporal"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings.open_home.mkdir(parents=True, exist_ok=True)
        self.settings.open_home.chmod(0o755)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.settings.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused("another `make` is at work on this stack; wait for it") from None
            yield

    def _up(self) -> None:
        embedded = self.settings.openstack is None
        make_secrets(self.settings)
        self._make_gateway_secrets()
        write_clients(self.settings)
        if embedded:
            write_keystone_seed(self.settings)
        if self.supervisor.pid() is None:
            self.supervisor.start()  # ends leftovers, which may hold our ports
            self._refuse_taken_ports()
        self.supervisor.reread()
        self.step("the records' PostgreSQL", self._start_records)
        self._start("temporal", *(["keystone"] if embedded else []))
        self.step("the records' tables", lambda: self._ours("records", "upgrade"))
        self.step("Temporal", self._wait_for_temporal)
        if embedded:
            self.step("Keystone", self._wait_for_keystone)
            self._start("swift", "localcloud")
            self.step("the embedded cloud", self._wait_for_cloud)
        self.step("flavors, networks, datastores" if embedded else "datastores", self._seed)
        self._start("codec-server", "workflow-worker", "activity-worker", "api", "gateway")
        self.step("the API and its workers", self._wait_for_api)
        self.step("the gateway", self._wait_for_gateway)

    def _make_gateway_secrets(self) -> None:
        """The gateway's part of the keys, and a private CA for it: made once, brought up to date at each start."""
        self._ours("contract.keys", "guests", COFFER_GUEST_KEY_FILE=str(guest_key_file(self.settings)))
        hosts = dict.fromkeys(["127.0.0.1", "localhost", self.settings.gateway_for_guests])
        self._ours("gateway.certificates", str(gateway_folder(self.settings)), *hosts)

    def _refuse_taken_ports(self) -> None:
        taken = taken_ports(self.settings)
        if taken:
            self.supervisor.stop()
            listed = "\n".join(f"  {port}: set {name.split(' ')[0]} to another one" for name, port in taken.items())
            raise Refused(f"these ports of 127.0.0.1 are taken by other programs:\n{listed}")

    def step(self, what: str, work: Callable[[], None]) -> None:
        """Do something, and say how long it took."""
        began = time.monotonic()
        work()
        say(f"  ✓ {what} ({time.monotonic() - began:.1f} s)")

    def _start(self, *names: str) -> None:
        for name in names:
            self.supervisor.start_process(name)

    def _start_records(self) -> None:
        if self.supervisor.states()["postgresql"]["statename"] != "RUNNING":
            postgres.prepare(self.settings)
        self._start("postgresql")
        self._wait("postgresql", lambda: _quietly(lambda: postgres.make_database(self.settings)))

    def _ours(self, module: str, *arguments: str, **more: str) -> None:
        environment = {**base_environment(self.settings), **control_environment(self.settings), **more}
        done = subprocess.run([str(self.settings.control_python), "-m", module, *arguments], cwd=HERE, env=environment,
                              capture_output=True, text=True)  # fmt: skip
        if done.returncode:
            raise Refused(f"python -m {module} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")

    def _wait(self, name: str, true: Callable[[], bool], seconds: float = 180) -> None:
        try:
            wait_for(name, true, seconds=seconds)
        except TimeoutError as error:
            log = self.settings.log / f"{name}.log"
            tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-12:]) if log.exists() else ""
            raise Refused(f"{error}; the end of {log}:\n    {tail}") from None

    def _wait_for_temporal(self) -> None:
        self._wait("temporal", lambda: _answers(f"http://127.0.0.1:{self.settings.ui_port}/api/v1/namespaces/coffer"))

    def _wait_for_keystone(self) -> None:
        seeded = self.settings.home / "keystone/seeded"
        self._wait("keystone", lambda: seeded.exists() and _answers(self.settings.keystone_url))

    def _wait_for_cloud(self) -> None:
        self._wait("localcloud", lambda: _answers(f"http://127.0.0.1:{self.settings.localcloud_port}/healthcheck"))
        self._wait("swift", lambda: _answers(f"http://127.0.0.1:{self.settings.swift_port}/healthcheck"))

    def _seed(self) -> None:
        from deploy import seed
        from deploy.openstack import catalogue
        from deploy.openstack.deployment import Deployment

        if self.settings.openstack is None:
            seed.seed_cloud(self.settings)
            path = seed.write_datastores(self.settings)
        else:
            path = catalogue.write_datastores(Deployment(self.settings, self.settings.openstack))
        self._ours("records", "seed", path)

    def _wait_for_api(self) -> None:
        from deploy.client import Client

        self._wait("api", lambda: _answers(f"{self.settings.api_url}/"))
        self._wait("codec-server", lambda: _answers(f"{self.settings.codec_url}/healthcheck"))
        with closing(Client(self.settings)) as client:
            # mirrored by a scheduled runbook: both workers have worked when flavors are there
            self._wait("activity-worker", lambda: _quietly(client.require_flavors))

    def _wait_for_gateway(self) -> None:
        def serves() -> bool:
            with socket.create_connection((self.settings.host, self.settings.gateway_port), timeout=2):
                return True

        self._wait("gateway", lambda: _quietly(serves))

    def down(self) -> None:
        """Stop everything; databases and state stay."""
        self.settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            self.supervisor.stop()

    def status(self) -> int:
        """Say how each process is; 0 when all run."""
        states = self.supervisor.states()
        if not states:
            say("the stack is down")
            return 3
        for name, state in states.items():
            say(f"  {name:16} {state['statename']:9} {state['description']}")
        return 0 if all(each["statename"] == "RUNNING" for each in states.values()) else 1

    def logs(self) -> None:
        """Follow all logs."""
        files = [str(each) for each in sorted(self.settings.log.glob("*.log"))]
        os.execvp("tail", ["tail", "-n", "5", "-F", *files])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False, verify=False).status_code < 400  # plain HTTP
    except httpx.HTTPError:
        return False


def _quietly(work: Callable[[], object]) -> bool:
    try:
        work()
    except Exception:  # noqa: BLE001 - whatever it is: not ready yet
        return False
    return True
