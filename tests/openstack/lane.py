"""What the steps of a life share: the deployment under test, a tenant, an instance, and how to wait for it."""

import secrets
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any
from uuid import uuid4

import httpx

from deploy.openstack.deployment import Deployment
from deploy.stack import Stack
from guest_worker.datastores import client_of

PATIENCE = 1800.0  # seconds; without KVM a server takes minutes to boot
PAUSE = 2.0  # between two looks: each costs the machine what its guests lack
USER, DATABASE = "app", "shop"


class Broken(Exception):
    """Something is not as it should be; the sentence says what."""


def until(what: str, true: Callable[[], Any], patience: float = PATIENCE, pause: float = PAUSE) -> Any:
    """Look until something is so; return it. Broken when it takes too long."""
    deadline = time.monotonic() + patience
    while not (found := true()):
        if time.monotonic() > deadline:
            raise Broken(f"{what}: not after {patience:.0f} s")
        time.sleep(pause)
    return found


class Lane:
    """A tenant of a deployment, and the one instance that all steps are about."""

    def __init__(self, stack: Stack, deployment: Deployment, datastore: str, flavors: tuple[str, str]) -> None:
        self.stack = stack
        self.deployment = deployment
        self.datastore = datastore
        self.flavors = flavors
        self.name = f"coffer-lane-{uuid4().hex[:8]}"  # of the tenant's project and user
        self.secret = secrets.token_hex(12)
        self.instance_id = ""
        self.written = 0  # rows that must be there
        self.notes: list[tuple[str, float]] = []  # seconds of what is part of a step

    # -- the tenant --------------------------------------------------------------------------------------------------

    def make_tenant(self) -> None:
        """A project with a plain member."""
        identity, domain = self.deployment.admin.identity, self.deployment.site.domain
        project = identity.create_project(name=self.name, domain_id=domain)
        user = identity.create_user(name=self.name, domain_id=domain, password=self.secret)
        identity.assign_project_role_to_user(project, user, identity.find_role("member", ignore_missing=False))

    def remove_tenant(self) -> None:
        """Delete both; deleted tokens are what is wanted."""
        identity, domain = self.deployment.admin.identity, self.deployment.site.domain
        for listed, delete in ((identity.users, identity.delete_user), (identity.projects, identity.delete_project)):
            for each in list(listed(name=self.name, domain_id=domain)):
                delete(each)

    @cached_property
    def api(self) -> httpx.Client:
        """The API as the tenant finds it in Keystone's catalogue."""
        domain = {"id": self.deployment.site.domain}
        user = {"name": self.name, "domain": domain, "password": self.secret}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": self.name, "domain": domain}}}  # fmt: skip
        answer = httpx.post(f"{self.deployment.site.keystone}/auth/tokens", json={"auth": auth}, timeout=60)
        answer.raise_for_status()
        endpoints = [
            each["url"] for service in answer.json()["token"]["catalog"] if service["type"] == "database"
            for each in service["endpoints"] if each["interface"] == "public"
        ]  # fmt: skip
        if not endpoints:
            raise Broken("the catalogue has no service of type `database`")
        return httpx.Client(
            base_url=endpoints[0], headers={"X-Auth-Token": answer.headers["X-Subject-Token"]}, timeout=60
        )

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the tenant's; Broken unless it succeeds."""
        answer = self.api.request(method, path, json=body)
        if answer.is_error:
            raise Broken(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    # -- the instance ------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Of the instance."""
        return f"/instances/{self.instance_id}"

    @property
    def instance(self) -> dict[str, Any]:
        """As the tenant sees it."""
        found: dict[str, Any] = self.ask("GET", self.path)["instance"]
        return found

    def flavor_id(self, name: str) -> str:
        """By its name."""
        found = {each["name"]: str(each["str_id"]) for each in self.ask("GET", "/flavors")["flavors"]}
        return found[name]

    def act(self, action: dict[str, Any]) -> None:
        """Ask for something to be done; return when the operation is there."""
        self.ask("POST", f"{self.path}/action", action)

    def operation(self) -> dict[str, Any]:
        """The newest."""
        found: dict[str, Any] = self.ask("GET", f"{self.path}/operations")["operations"][0]
        return found

    def until_done(self, state: str = "DONE") -> dict[str, Any]:
        """Wait for the end of the newest operation, and for a healthy database."""
        ended = until("the operation has ended", lambda: (one := self.operation())["finished"] and one)
        if ended["state"] != state:
            raise Broken(f"{ended['kind']} is {ended['state']}: {ended['reason']}")
        self.until_healthy()
        return dict(ended)

    def until_healthy(self) -> None:
        """Wait until the instance is ACTIVE and serves."""

        def healthy() -> bool:
            found = self.instance
            if found["status"] == "ERROR":
                raise Broken(f"the instance is in ERROR: {found.get('fault')}")
            return bool(found["status"] == "ACTIVE" and found["operating_status"] == "HEALTHY")

        until("ACTIVE and HEALTHY", healthy)

    def until_step(self, name: str) -> None:
        """Wait until the newest operation is at a step."""
        until(f"a step {name}", lambda: name in [each["name"] for each in self.operation()["steps"]])

    @property
    def address(self) -> str:
        """The public one."""
        return next(str(each["address"]) for each in self.instance["addresses"] if each["type"] == "public")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database as the tenant's user, over TCP."""
        client = client_of(self.datastore)
        with client.connect(self.address, USER, self.secret, DATABASE) as connection:
            return client.ask(connection, statement)

    def write(self) -> None:
        """Add a row."""
        self.sql("CREATE TABLE IF NOT EXISTS life (step integer)")
        self.sql(f"INSERT INTO life (step) VALUES ({self.written})")
        self.written += 1

    def require_data(self) -> None:
        """Broken unless every row that was written is there."""
        rows = [row[0] for row in self.sql("SELECT step FROM life ORDER BY step")]
        if rows != list(range(self.written)):
            raise Broken(f"{self.written} rows were written, and these are there: {rows}")

    # -- past Coffer -------------------------------------------------------------------------------------------------

    @property
    def server(self) -> Any:
        """The instance's server, as Nova shows it to the administrator."""
        compute, name = self.deployment.admin.compute, f"coffer-{self.instance_id}"
        return next(iter(compute.servers(all_projects=True, name=f"^{name}$")))

    def belongings(self) -> list[str]:
        """What there is of any instance in Nova, Cinder and Neutron."""
        admin, project = self.deployment.admin, self.deployment.project_id
        listed = {
            "server": admin.compute.servers(all_projects=True, project_id=project),
            "server group": self.deployment.service.compute.server_groups(),
            "volume": admin.block_storage.volumes(all_projects=True, project_id=project),
            "floating ip": admin.network.ips(project_id=project),
            "security group": (each for each in admin.network.security_groups(project_id=project) if each.name != "default"),
            "port": (each for each in admin.network.ports(project_id=project) if not each.device_owner.startswith("network:")),
        }  # fmt: skip
        return [f"{kind} {each.id} {getattr(each, 'name', '')}" for kind, found in listed.items() for each in found]
