"""The OpenStack that the adapter is tested against, and what tests see of it past the adapter."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import openstack
import pytest
from openstack.connection import Connection

from activities.openstack.cloud import Cloud, open_cloud
from activities.openstack.connection import name_of
from activities.settings import ActivitySettings
from contract.domain.datastores.base import EnginePort
from contract.domain.errors import NotYet
from contract.domain.instance import Access, CloudOffer, DatastoreVersion, InstanceSpec, Locality, Nic
from contract.domain.resources import Belongings, Part, ResourceKind
from contract.keys.keyring import MasterKeyring
from contract.ports.cloud import FloatingIpOrder, OfferRequest, ResourceOrder, ServerOrder
from contract.ports.volumes import NewVolume
from tests.contracts_cloud.proxy import Proxy
from tests.stack import RunningStack

DATABASE_PORT = 5432
REAL = "COFFER_TEST_CLOUD"  # variable of the environment: a real cloud's name in clouds.yaml
GATEWAY = "192.0.2.1:7233"
MASTER = b"m" * 32
CA = Path(__file__).with_name("ca.pem")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class TargetCloud:
    """A cloud by its name in clouds.yaml: the embedded one, or a real one behind a proxy that loses and falsifies answers."""

    name: str
    flavor: str
    image: str
    network: str
    stack: RunningStack | None = None
    proxy: Proxy | None = None
    keyring: MasterKeyring = field(default_factory=lambda: MasterKeyring.of(MASTER))

    @classmethod
    def of_environment(cls, proxy: Proxy) -> "TargetCloud":
        """The real OpenStack that the environment names, behind the proxy."""
        flavor, image, network = (os.environ[f"COFFER_TEST_{each}"] for each in ("FLAVOR", "IMAGE", "NETWORK"))
        return cls(os.environ[REAL], flavor, image, network, proxy=proxy)

    @property
    def impatience(self) -> float:
        """Seconds in which a request is done, if nothing delays it."""
        return 1.0 if self.stack else 8.0

    def open(self, **settings: Any) -> Cloud:
        """The adapter, with settings of a test's own."""
        base: dict[str, Any] = {
            "cloud": self.name,
            "default_network": self.network,
            "guest_gateway": GATEWAY,
            "guest_gateway_ca": CA,
        }
        return open_cloud(ActivitySettings(**{**base, **settings}), self.keyring)

    def connect(self) -> Connection:
        """A connection that the adapter knows nothing of."""
        return openstack.connect(cloud=self.name)

    def fault(self, **rule: Any) -> None:
        """Let something go wrong. What fails inside a service cannot be had of a real one: the test is skipped."""
        if self.stack is not None:
            self.stack.fault(**rule)
        elif self.proxy is None or {"server", "volume"} & set(rule):
            pytest.skip("a real OpenStack cannot be told to fail")
        else:
            self.proxy.faults.add(rule)

    def faults_left(self) -> list[int]:
        """How often each rule is still to be applied."""
        if self.stack is None:
            return [each.count for each in self.proxy.faults.rules] if self.proxy else []
        token, _ = self.stack.token("admin")
        url = f"http://127.0.0.1:{self.stack.settings.localcloud_port}/faults"
        answer = httpx.get(url, headers={"X-Auth-Token": token}).raise_for_status()
        return [rule["count"] for rule in answer.json()["faults"]]

    def no_more_faults(self) -> None:
        """Forget all rules."""
        if self.stack is not None:
            self.stack.no_more_faults()
        elif self.proxy is not None:
            self.proxy.faults.rules.clear()

    def eventually(self, call: Callable[[], Answer]) -> Answer:
        """Ask again while the answer is NotYet, as a runbook does."""
        patience, pause = (20.0, 0.03) if self.stack else (600.0, 2.0)
        deadline = time.monotonic() + patience
        while True:
            try:
                return call()
            except NotYet:
                if time.monotonic() > deadline:
                    raise
                time.sleep(pause)

    def eventually_true(self, look: Callable[[], bool]) -> None:
        """Look again until it is so."""

        def so() -> None:
            if not look():
                raise NotYet("it is not so")

        self.eventually(so)

    def until_booted(self, server_id: str) -> None:
        """Wait for the embedded cloud's init: before it listens, a wish to stop is not heard, and costs the grace."""
        if self.stack is not None:
            console = self.stack.settings.open_home / "cloud/servers" / server_id / "console.log"
            self.eventually_true(lambda: console.exists() and "booted" in console.read_text())


class Instance:
    """The resources of one instance: how to order them, and which of them are there."""

    def __init__(
        self, target: TargetCloud, cloud: Cloud, conn: Connection, offer: CloudOffer, instance_id: UUID | None = None
    ) -> None:
        self.id = instance_id or uuid4()
        self.name = name_of(self.id)
        self.target, self.cloud, self.conn, self._offer = target, cloud, conn, offer

    def through(self, cloud: Cloud) -> "Instance":
        """The same instance, ordered through another adapter."""
        return Instance(self.target, cloud, self.conn, self._offer, self.id)

    def order(self, **more: Any) -> ResourceOrder:
        """What runbooks say of an instance."""
        usual: dict[str, Any] = {
            "instance_id": self.id,
            "project_id": "project-of-the-tenant",
            "name": "a database",
            "manager": "postgresql",
            "datastore_version": "15",
            "ports": (EnginePort(number=DATABASE_PORT),),
            "offer": self._offer,
            "volume_gib": 1,
            "access": Access(),
            "locality": Locality.SOFT_ANTI_AFFINITY,
        }
        return ResourceOrder(**{**usual, **more})

    def new_volume(self, **more: Any) -> NewVolume:
        """What runbooks say of its data volume."""
        usual: dict[str, Any] = {
            "part": self.part(ResourceKind.VOLUME), "size_gib": 1, "volume_type": self._offer.volume_type,
            "description": "a database",
        }  # fmt: skip
        return NewVolume(**{**usual, **more})

    def part(self, kind: ResourceKind, generation: int = 1) -> Part:
        """A resource of the instance."""
        return Part(instance_id=self.id, kind=kind, generation=generation)

    @property
    def belongings(self) -> Belongings:
        """What a deletion without any record knows."""
        return Belongings(instance_id=self.id)

    def server_order(self, generation: int = 1) -> ServerOrder:
        """A server with the parts that it needs; they are made when they are not there."""
        self.cloud.networks.create_security_group(self.order())
        port = self.cloud.networks.create_port(self.order())
        self.cloud.volumes.create_volume(self.new_volume())
        volume = self.target.eventually(
            lambda: self.cloud.volumes.require_volume_available(self.part(ResourceKind.VOLUME))
        )
        return ServerOrder(
            part=self.part(ResourceKind.SERVER, generation),
            resources=self.order(),
            port_id=port.id,
            volume_id=volume,
            generation=3,
        )

    def running_server(self) -> str:
        """Build a server with its parts, and wait for it; return its id."""
        self.cloud.servers.create_server(self.server_order())
        server = self.target.eventually(
            lambda: self.cloud.servers.require_server_active(self.part(ResourceKind.SERVER))
        )
        self.target.until_booted(server)
        return server

    def floating_ip_order(self) -> FloatingIpOrder:
        """An address for the port, which is made when it is not there."""
        return FloatingIpOrder(instance_id=self.id, port_id=self.cloud.networks.create_port(self.order()).id)

    # -- what is there, past the adapter -----------------------------------------------------------------------------

    def servers(self) -> list[str]:
        """Ids of servers of this name."""
        return [each.id for each in self.conn.compute.servers() if each.name == self.name]

    def volumes(self) -> list[str]:
        """Ids of volumes of this name."""
        return [each.id for each in self.conn.block_storage.volumes() if each.name == self.name]

    def ports(self) -> list[str]:
        """Ids of ports of this name."""
        return [each.id for each in self.conn.network.ports() if each.name == self.name]

    def security_groups(self) -> list[str]:
        """Ids of security groups of this name."""
        return [each.id for each in self.conn.network.security_groups() if each.name == self.name]

    def server_groups(self) -> list[str]:
        """Ids of server groups of this name."""
        return [each.id for each in self.conn.compute.server_groups() if each.name == self.name]

    def floating_ips(self) -> list[str]:
        """Addresses that are described by this name."""
        return [each.floating_ip_address for each in self.conn.network.ips() if each.description == self.name]

    def everything(self) -> list[str]:
        """All of it."""
        return [*self.servers(), *self.volumes(), *self.ports(), *self.security_groups(), *self.server_groups(),
                *self.floating_ips()]  # fmt: skip

    def ingress_rules(self) -> list[tuple[str, str, int, int, str]]:
        """Family, protocol, ports and source of what is let in."""
        (group,) = self.security_groups()
        rules = self.conn.network.security_group_rules(security_group_id=group, direction="ingress")
        return sorted(
            (
                each.ether_type,
                each.protocol,
                each.port_range_min,
                each.port_range_max,
                each.remote_group_id or each.remote_ip_prefix,
            )
            for each in rules
        )

    def tear_down(self) -> None:
        """Delete all of it, in the order in which it can be."""
        for delete in (
            self.cloud.servers.delete_servers_of,
            self.cloud.volumes.delete_volumes_of,
            self.cloud.networks.delete_floating_ips_of,
            self.cloud.networks.delete_ports_of,
            self.cloud.networks.delete_security_groups_of,
            self.cloud.servers.delete_server_groups_of,
        ):
            self.target.eventually(lambda delete=delete: delete(self.belongings))  # type: ignore[misc]


def offer_request(target: TargetCloud, project_id: str, **more: Any) -> OfferRequest:
    """An order that the site can fulfil, but for what a test changes in it."""
    usual: dict[str, Any] = {
        "name": "a database",
        "version": version(image=target.image),
        "flavor": target.flavor,
        "volume_gib": 1,
        "nic": Nic(network_id=target.network),
    }
    return OfferRequest(project_id=project_id, spec=InstanceSpec(**{**usual, **more}))


def version(**image: Any) -> DatastoreVersion:
    """A catalogue entry, by image or by tags."""
    return DatastoreVersion(
        id=uuid4(),
        name="15",
        number="15.0",
        datastore_id=uuid4(),
        datastore="postgresql",
        manager="postgresql",
        **image,
    )
