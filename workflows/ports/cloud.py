"""The world from outside: OpenStack, as runbooks ask for it.

Every verb may come twice. `create_` finds what carries the instance's derived name first; `require_` raises NotYet until
it is so, ResourceFailed when it never will be, and of several things of one name keeps the oldest and deletes the
others (an attempt that timed out may have taken effect later); `delete_…_of` raises NotYet until nothing is left.
"""

from abc import ABC, abstractmethod
from uuid import UUID

from temporalio import activity

from workflows.domain.fact import Fact
from workflows.domain.instance import Access, Address, CloudOffer, InstanceSpec, Locality, ServerState


class OfferRequest(Fact):
    """A spec, and the project that must be able to see its networks."""

    project_id: str
    spec: InstanceSpec


class ResourceOrder(Fact):
    """What the cloud must know to build an instance's resources; one fact for all of them."""

    instance_id: UUID
    project_id: str
    name: str
    manager: str
    datastore_version: str
    database_port: int
    offer: CloudOffer
    volume_gib: int
    access: Access = Access()
    ip_address: str | None = None
    availability_zone: str | None = None
    locality: Locality | None = None


class Port(Fact):
    """A Neutron port and its addresses."""

    id: str
    addresses: tuple[Address, ...] = ()


class ServerOrder(Fact):
    """A server to build from parts that exist."""

    resources: ResourceOrder
    port_id: str
    volume_id: str
    server_group_id: str | None = None
    generation: int = 0  # of its guest; see `ports.identities`


class FloatingIpOrder(Fact):
    """A port to be reached from outside."""

    instance_id: UUID
    port_id: str


class Offers(ABC):
    """Whether OpenStack has what an order names."""

    @abstractmethod
    @activity.defn
    def check_order(self, request: OfferRequest) -> CloudOffer:
        """Resolve flavor, image, volume type and network.

        Raise BadRequest naming what is unknown, does not fit, or is not visible to the caller's project.
        """


class Networks(ABC):
    """Neutron: security groups, ports, floating IPs."""

    @abstractmethod
    @activity.defn
    def create_security_group(self, order: ResourceOrder) -> str:
        """Open the database's port to the allowed CIDRs; return the group's id."""

    @abstractmethod
    @activity.defn
    def create_port(self, order: ResourceOrder) -> Port:
        """Make the port on the tenant's network, guarded by the security group."""

    @abstractmethod
    @activity.defn
    def create_floating_ip(self, order: FloatingIpOrder) -> Address:
        """Give the port an address that is reached from outside."""

    @abstractmethod
    @activity.defn
    def delete_floating_ips_of(self, instance_id: UUID) -> None: ...

    @abstractmethod
    @activity.defn
    def delete_ports_of(self, instance_id: UUID) -> None: ...

    @abstractmethod
    @activity.defn
    def delete_security_groups_of(self, instance_id: UUID) -> None: ...


class Volumes(ABC):
    """Cinder."""

    @abstractmethod
    @activity.defn
    def create_volume(self, order: ResourceOrder) -> str: ...

    @abstractmethod
    @activity.defn
    def require_volume_available(self, instance_id: UUID) -> str:
        """Return the id of the one volume that is kept; it is available or attached."""

    @abstractmethod
    @activity.defn
    def delete_volumes_of(self, instance_id: UUID) -> None: ...


class Servers(ABC):
    """Nova: server groups and servers."""

    @abstractmethod
    @activity.defn
    def create_server_group(self, order: ResourceOrder) -> str: ...

    @abstractmethod
    @activity.defn
    def create_server(self, order: ServerOrder) -> str:
        """Boot the guest with its user data, which is made here, so that no secret passes through a history."""

    @abstractmethod
    @activity.defn
    def require_server_active(self, instance_id: UUID) -> str:
        """Return the id of the one server that is kept."""

    @abstractmethod
    @activity.defn
    def get_server_state(self, instance_id: UUID) -> ServerState:
        """Return what became of the instance's server and volume, for whoever wonders why its guest is silent."""

    @abstractmethod
    @activity.defn
    def delete_servers_of(self, instance_id: UUID) -> None: ...

    @abstractmethod
    @activity.defn
    def delete_server_groups_of(self, instance_id: UUID) -> None: ...


class Cloud(Offers, Networks, Volumes, Servers):
    """All of OpenStack that runbooks use."""
