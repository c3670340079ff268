"""What the steps of a life share: the deployment under test, a tenant, an instance, and how to wait for it."""

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import httpx
import openstack

from deploy.openstack.deployment import Deployment
from deploy.openstack.network import external_network
from deploy.stack import Stack
from guest_worker.datastores import client_of

PATIENCE = 1800.0  # seconds; without KVM a server takes minutes to boot
PAUSE = 2.0  # between two looks: each costs the machine what its guests lack
USER, DATABASE = "amy", "app"  # as the program of gophercloud wants them
TRIES = 10  # of a request that is answered with 503


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


@dataclass(frozen=True)
class Plan:
    """What the command line says of a life."""

    datastore: str
    flavors: tuple[str, str]
    stranger: str = ""
    """Another address of this machine that reaches the databases' network, but is not let in."""
    own_network: str = ""
    """Range of a network of the tenant's own, which leads to the gateway's address and nowhere else."""
    interrupted: bool = False
    """Stop and start all of Coffer in the middle of order, restart and deletion."""
    lose: bool = False
    """Have Nova delete the server before the deletion."""
    series: str = ""
    """Another one of the engine, to upgrade to."""
    force: bool = False
    """Delete it as `openstack database instance force delete` does."""


class Lane:
    """A tenant of a deployment, and the one instance that all steps are about."""

    def __init__(self, stack: Stack, deployment: Deployment, plan: Plan) -> None:
        self.stack = stack
        self.deployment = deployment
        self.plan = plan
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

    @cached_property
    def tenant(self) -> Any:
        """OpenStack as the tenant."""
        site = self.deployment.site
        return openstack.connect(
            auth_url=site.keystone, region_name=site.region, username=self.name, password=self.secret,
            project_name=self.name, user_domain_id=site.domain, project_domain_id=site.domain,
        )  # fmt: skip

    @cached_property
    def network_id(self) -> str:
        """A network of the tenant's own: its servers know a route to the gateway (and the stranger), and to nothing else."""
        neutron, outside = self.tenant.network, external_network(self.deployment)
        made = neutron.create_network(name=self.name)
        known = [each for each in (self.deployment.site.address, self.plan.stranger) if each]
        subnet = neutron.create_subnet(
            name=self.name, network_id=made.id, ip_version=4, cidr=self.plan.own_network, gateway_ip=None
        )
        door = neutron.create_port(name=self.name, network_id=made.id, fixed_ips=[{"subnet_id": subnet.id}])
        hop = door.fixed_ips[0]["ip_address"]
        neutron.update_subnet(subnet, host_routes=[{"destination": f"{each}/32", "nexthop": hop} for each in known])
        router = neutron.create_router(name=self.name, external_gateway_info={"network_id": outside})
        neutron.add_interface_to_router(router, port_id=door.id)
        return str(made.id)

    def remove_network(self) -> None:
        """Delete it with its router."""
        neutron, mine = self.deployment.admin.network, {"project_id": self.tenant.current_project_id}
        for router in list(neutron.routers(**mine)):
            for port in list(neutron.ports(device_id=router.id, device_owner="network:router_interface")):
                neutron.remove_interface_from_router(router, port_id=port.id)
            neutron.delete_router(router)
        for network in list(neutron.networks(**mine)):
            neutron.delete_network(network)
        for group in list(neutron.security_groups(**mine)):
            neutron.delete_security_group(group)

    def remove_tenant(self) -> None:
        """Delete all of it; deleted tokens are what is wanted."""
        self.remove_network()
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
        """A request of the tenant's; Broken unless it succeeds. 503 asks for it again: an order has a key, and is done once."""
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}
        for _ in range(TRIES):
            answer = self.api.request(method, path, json=body, headers=headers)
            if answer.status_code != 503:
                break
            time.sleep(PAUSE)
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

    def administer(self, action: dict[str, Any], path: str = "") -> None:
        """Ask for something as an administrator; Broken unless it is accepted."""
        admin, path = self.deployment.admin, path or f"/mgmt{self.path}/action"
        url = f"{self.deployment.settings.api_url}/v1.0/{admin.current_project_id}{path}"
        answer = httpx.post(url, json=action, headers={"X-Auth-Token": admin.auth_token}, timeout=60)
        if answer.is_error:
            raise Broken(f"POST {path} {action}: {answer.status_code} {answer.text}")

    def operation(self) -> dict[str, Any]:
        """The newest."""
        found: dict[str, Any] = self.ask("GET", f"{self.path}/operations")["operations"][0]
        return found

    def until_ended(self, state: str = "DONE") -> dict[str, Any]:
        """Wait for the end of the newest operation; Broken unless it is in this state."""
        ended = until("the operation has ended", lambda: (one := self.operation())["finished"] and one)
        if ended["state"] != state:
            raise Broken(f"{ended['kind']} is {ended['state']}: {ended['reason']}")
        return dict(ended)

    def until_done(self, state: str = "DONE") -> dict[str, Any]:
        """Wait for the end of the newest operation, and for a healthy database."""
        ended = self.until_ended(state)
        self.until_healthy()
        return ended

    def until_healthy(self) -> None:
        """Wait until the instance is ACTIVE and serves."""

        def healthy() -> bool:
            found = self.instance
            if found["status"] == "ERROR":
                raise Broken(f"the instance is in ERROR: {found.get('fault')}")
            return bool(found["status"] == "ACTIVE" and found["operating_status"] == "HEALTHY")

        until("ACTIVE and HEALTHY", healthy)

    def interrupt(self, step: str) -> None:
        """Where the plan says so: stop and start Coffer when the newest operation has begun a step, and has not ended."""
        if not self.plan.interrupted:
            return

        def begun() -> Any:
            found = self.operation()
            return step in [each["name"] for each in found["steps"]] and found

        if until(f"the step {step}", begun, pause=0.2)["finished"]:
            raise Broken(f"the operation had ended before it could be interrupted at {step}")
        self.stack.down()
        self.stack.up()

    @property
    def let_in(self) -> list[str]:
        """The addresses that the order lets in."""
        return [f"{self.deployment.site.address}/32"]

    @cached_property
    def address(self) -> str:
        """The public one: no operation changes it."""
        return next(str(each["address"]) for each in self.instance["addresses"] if each["type"] == "public")

    def opens(self, port: int, source: str = "") -> bool:
        """Whether the port opens from an address of this machine. A port without a filter would refuse at once: Broken."""
        try:
            socket.create_connection((self.address, port), timeout=5, source_address=(source, 0)).close()
        except TimeoutError:
            return False
        except OSError as error:
            raise Broken(f"port {port} of {self.address} is not filtered: {error}") from error
        return True

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database as the tenant's user, over TCP."""
        client = client_of(self.plan.datastore)
        with client.connect(self.address, USER, self.secret, DATABASE) as connection:
            return client.ask(connection, statement)

    def setting(self, name: str) -> str:
        """What the engine runs with."""
        postgresql = self.plan.datastore == "postgresql"
        asked = f"setting FROM pg_settings WHERE name = '{name}'" if postgresql else f"@@GLOBAL.{name}"
        return str(self.sql(f"SELECT {asked}")[0][0])

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
        """What there is of any instance in Nova, Cinder, Neutron and Swift."""
        admin, project = self.deployment.admin, self.deployment.project_id
        listed = {
            "server": admin.compute.servers(all_projects=True, project_id=project),
            "server group": self.deployment.service.compute.server_groups(),
            "volume": admin.block_storage.volumes(all_projects=True, project_id=project),
            "floating ip": admin.network.ips(project_id=project),
            "security group": (each for each in admin.network.security_groups(project_id=project) if each.name != "default"),
            "snapshot": admin.block_storage.snapshots(all_projects=True, project_id=project),
            "container": [*self.tenant.object_store.containers(), *self.deployment.service.object_store.containers()],
            "port": (each for each in admin.network.ports(project_id=project) if not each.device_owner.startswith("network:")),
        }  # fmt: skip
        left = [f"{kind} {each.id} {getattr(each, 'name', '')}" for kind, found in listed.items() for each in found]
        address = admin.network.ips(floating_ip_address=self.address)  # whosever it is
        return [*left, *(f"floating ip {each.floating_ip_address}" for each in address)]
