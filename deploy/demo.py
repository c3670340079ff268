"""`make demo`: order a MariaDB and a PostgreSQL through the public API, use them, say how to go on.

Everything that changes something is done with the unmodified `openstack database …` client. A second run finds its
instances and goes on from there.
"""

import json
import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import httpx

from contract.files import write_private
from deploy.client import Client
from deploy.settings import StackSettings
from deploy.stack import Refused, say
from guest_worker.datastores import client_of

PATIENCE = 180.0  # seconds that an instance is given to become ACTIVE
USER, DATABASE = "app", "shop"
ORDERED = ("mariadb", "postgresql")  # those of the distribution


@dataclass
class Wanted:
    """One instance of the demonstration."""

    datastore: str
    flavor: str
    shown: int = 0  # steps that were already printed
    ordered: bool = False  # in this run

    @property
    def name(self) -> str:
        """As the tenant calls it."""
        return f"demo-{self.datastore}"


def demonstrate(settings: StackSettings) -> int:
    """Do it all; 0 is success."""
    demo = Demonstration(settings, [Wanted(each, "m1.tiny") for each in ORDERED])
    demo.order()
    demo.follow()
    for each in demo.wanted:
        demo.use(each)
    demo.tell()
    return 0


class Demonstration:
    """Orders, follows, uses, tells."""

    def __init__(self, settings: StackSettings, wanted: list[Wanted]) -> None:
        self.settings = settings
        self.wanted = wanted
        self._client = Client(settings)
        self._began = time.monotonic()

    def openstack(self, *words: str) -> Any:
        """Run the client as the user `demo`; return what it prints as JSON, where it was asked for JSON."""
        command = [str(self.settings.embedded_python.parent / "openstack"), *words]
        environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self.settings.home / "clouds.yaml"),
            "OS_CLOUD": "demo",
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise Refused(f"openstack {' '.join(words[:3])} failed: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout) if "json" in words and done.stdout.strip() else None

    def order(self) -> None:
        """Order what is not there yet."""
        for each in self.wanted:
            found = self._client.instance(each.name)
            if found is not None:
                say(f"{each.name}: there already ({found['status']})")
                continue
            say(
                f"$ openstack database instance create {each.name} --flavor {each.flavor} --size 1 --datastore {each.datastore}"
            )
            self.openstack("database", "instance", "create", each.name, "--flavor", each.flavor, "--size", "1",
                           "--datastore", each.datastore)  # fmt: skip
            each.ordered = True

    def follow(self) -> None:
        """Show each step when it ends, until all instances serve."""
        waiting = list(self.wanted)
        deadline = time.monotonic() + PATIENCE
        while waiting:
            for each in list(waiting):
                if self._look(each):
                    waiting.remove(each)
            if time.monotonic() > deadline:
                raise Refused(f"{waiting[0].name} does not serve after {PATIENCE:.0f} s; `make logs` tells more")
            time.sleep(0.3)

    def _look(self, wanted: Wanted) -> bool:
        found = self._client.instance(wanted.name)
        if found is None:
            raise Refused(f"{wanted.name} is gone")
        self._show_steps(wanted, found["id"])
        if found["status"] == "ERROR":
            raise Refused(f"{wanted.name}: {found.get('fault', {}).get('message', 'ERROR')}\n"
                          f"  delete it (openstack database instance delete {wanted.name}) and try again")  # fmt: skip
        if found["status"] == "ACTIVE" and found["operating_status"] == "HEALTHY":
            say(f"{wanted.name}: ACTIVE, HEALTHY at {found['ip'][0]}")
            return True
        return False

    def _show_steps(self, wanted: Wanted, instance_id: str) -> None:
        try:
            operations = self._client.get(f"/instances/{instance_id}/operations")["operations"]
        except httpx.HTTPError:
            return
        states = ("RUNNING", "DONE") if wanted.ordered else ("RUNNING",)  # it may end before the first look
        creation = [each for each in operations if each["kind"] == "create" and each["state"] in states]
        steps = [each["name"] for each in creation[0]["steps"]] if creation else []
        for step in steps[wanted.shown :]:
            say(f"  {time.monotonic() - self._began:5.1f} s  {wanted.name}: {step}")
        wanted.shown = max(wanted.shown, len(steps))

    def use(self, wanted: Wanted) -> None:
        """Make a database and a user, write a row and read it back, at the instance's own address."""
        found = self._client.instance(wanted.name)
        assert found is not None
        secret = self._password(wanted)
        there = {each["Name"] for each in self.openstack("database", "db", "list", wanted.name, "-f", "json") or []}
        if DATABASE not in there:
            self.openstack("database", "db", "create", wanted.name, DATABASE)
        users = {each["Name"] for each in self.openstack("database", "user", "list", wanted.name, "-f", "json") or []}
        if USER not in users:
            self.openstack("database", "user", "create", wanted.name, USER, secret, "--databases", DATABASE)
        rows = visit(wanted.datastore, found["ip"][0], secret)
        say(f"{wanted.name}: user '{USER}' wrote a row to '{DATABASE}' and reads {rows}")

    def _password(self, wanted: Wanted) -> str:
        path = self.settings.secrets / f"{wanted.name}-{USER}"
        if not path.exists():
            write_private(path, secrets.token_hex(12))  # may not begin with a dash: it is an argument of the client
        return path.read_text()

    def tell(self) -> None:
        """How to go on."""
        home, api = self.settings.home, self.settings.api_url
        lines = ["", f"Coffer runs ({time.monotonic() - self._began:.0f} s for the databases). Connect:"]
        for each in self.wanted:
            found, secret = self._client.instance(each.name), self._password(each)
            address = found["ip"][0] if found else "?"
            lines.append(
                f"  {client_of(each.datastore).command}".format(
                    address=address, user=USER, secret=secret, database=DATABASE
                )
            )
        lines += [
            "Use the client (a plain user; openrc-admin is an administrator):",
            f"  . {home}/openrc-demo && {self.settings.embedded_python.parent}/openstack database instance list",
            f"API          {api}   its OpenAPI page: {api}/docs",
            f"Web UI       http://127.0.0.1:{self.settings.ui_port}/namespaces/coffer/workflows",
            f"             to read payloads, log in at {self.settings.codec_url}/login as in {home}/openrc-admin",
            "Next         make status | make logs | make down (databases stay) | make clean (forgets all)",
        ]
        say("\n".join(lines))


def visit(datastore: str, address: str, secret: str) -> str:
    """Write a row as a tenant; return how many there are."""
    client = client_of(datastore)
    with client.connect(address, USER, secret, DATABASE) as connection:
        client.ask(connection, "CREATE TABLE IF NOT EXISTS visits (at timestamp)")
        client.ask(connection, "INSERT INTO visits (at) VALUES (current_timestamp)")
        count = client.ask(connection, "SELECT count(*) FROM visits")[0][0]
    return f"{count} row{'s' if count != 1 else ''}"
