"""The world from outside: OpenStack, as runbooks ask for it.

Every verb may come twice. `create_` finds what carries the derived name first; `require_` raises NotYet until it is so,
ResourceFailed when it never will be, and of several things of one name, so of one role and generation, keeps the oldest
and deletes the others (an attempt that timed out may have taken effect later); `delete_…_of` raises NotYet until nothing
of the instance is left.
"""

from abc import ABC, abstractmethod
from uuid import UUID

from temporalio import activity

from contract.domain.access import AccessRules
from contract.domain.catalogue import ImageRequest
from contract.domain.datastores.base import EnginePort
from contract.domain.fact import Fact
from contract.domain.instance import Access, Address, CloudOffer, Flavor, InstanceSpec, Locality, ServerState
from contract.domain.resources import Belongings, Part
from contract.domain.servers import Migration
from contract.ports.waits import Wait, waits


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
    ports: tuple[EnginePort, ...]
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

    part: Part
    resources: ResourceOrder
    port_id: str
    volume_id: str
    server_group_id: str | None = None
    generation: int = 0  # of its guest; see `ports.identities`


class Attached(Fact):
    """The server and the volume of an instance, by OpenStack's ids."""

    server_id: str
    volume_id: str | None = None


class FloatingIpOrder(Fact):
    """A port to be reached from outside."""

    instance_id: UUID
    port_id: str


class FlavorRequest(Fact):
    """A flavor by id or name."""

    flavor: str


class FlavorChange(Fact):
    """Which server is to have which flavor."""

    server_id: str
    flavor_id: str


class Offers(ABC):
    """Whether OpenStack has what an order names."""

    @abstractmethod
    @activity.defn
    def check_order(self, request: OfferRequest) -> CloudOffer:
        """Resolve flavor, image, volume type and network.

        Raise BadRequest naming what is unknown, does not fit, or is not visible to the caller's project.
        """

    @abstractmethod
    @activity.defn
    def check_flavor(self, request: FlavorRequest) -> Flavor:
        """Return what Nova says of a flavor; BadRequest when there is none."""

    @abstractmethod
    @activity.defn
    def check_image(self, request: ImageRequest) -> None:
        """Raise BadRequest where Glance has no such image, or none that is active."""


class Networks(ABC):
    """Neutron: security groups, ports, floating IPs."""

    @abstractmethod
    @activity.defn
    def create_security_group(self, order: ResourceOrder) -> str:
        """Open the database's port to the allowed CIDRs; return the group's id."""

    @abstractmethod
    @activity.defn
    def set_access_rules(self, rules: AccessRules) -> None:
        """Let in whom the rules name and nobody else; only what is different is changed.

        What is missing is added before what is too much is taken away. Connections that no rule lets in any more are
        ended by Neutron's agent.
        """

    @abstractmethod
    @activity.defn
    def create_port(self, order: ResourceOrder) -> Port:
        """Make the port on the tenant's network, guarded by the security group."""

    @abstractmethod
    @activity.defn
    def create_floating_ip(self, order: FloatingIpOrder) -> Address:
        """Give the port an address that is reached from outside."""

    @waits(Wait.LONGER)
    @abstractmethod
    @activity.defn
    def delete_floating_ips_of(self, belongings: Belongings) -> None: ...

    @waits(Wait.LONGER)
    @abstractmethod
    @activity.defn
    def delete_ports_of(self, belongings: Belongings) -> None: ...

    @waits(Wait.LONGER)
    @abstractmethod
    @activity.defn
    def delete_security_groups_of(self, belongings: Belongings) -> None: ...


class Servers(ABC):
    """Nova: server groups and servers."""

    @abstractmethod
    @activity.defn
    def create_server_group(self, order: ResourceOrder) -> str: ...

    @abstractmethod
    @activity.defn
    def create_server(self, order: ServerOrder) -> str:
        """Boot the guest with its user data, which is made here, so that no secret passes through a history."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_server_active(self, part: Part) -> str:
        """Return the id of the one server that is kept."""

    @abstractmethod
    @activity.defn
    def get_server_state(self, attached: Attached) -> ServerState:
        """Return what became of an instance's server and volume, for whoever wonders why its guest is silent."""

    @abstractmethod
    @activity.defn
    def resize_server(self, change: FlavorChange) -> None:
        """Begin the change of a server's flavor; no error if it was begun or is done. Nova restarts the server."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_server_resized(self, change: FlavorChange) -> None:
        """Wait until the server runs on the new flavor and Nova waits for a word (VERIFY_RESIZE)."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_resize_confirmed(self, server_id: str) -> None:
        """Have Nova forget the old server, and wait until it has."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_resize_settled(self, server_id: str) -> Flavor:
        """Revert a resize that was not confirmed, wait until the server is ACTIVE, and return the flavor that it has."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_server_stopped(self, server_id: str) -> None:
        """Have Nova stop the server, and wait until it has."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_server_running(self, server_id: str) -> None:
        """Have Nova start a server that is off, and wait until it runs."""

    @abstractmethod
    @activity.defn
    def reboot_server(self, server_id: str) -> None:
        """Have Nova reboot the server hard, unless it does just now."""

    @abstractmethod
    @activity.defn
    def migrate_server(self, migration: Migration) -> None:
        """Begin a cold migration; no error if it was begun or is done."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_server_migrated(self, server_id: str) -> None:
        """Wait until the server runs on the other host and Nova waits for a word (VERIFY_RESIZE)."""

    @waits(Wait.LONGER)
    @abstractmethod
    @activity.defn
    def delete_servers_of(self, belongings: Belongings) -> None: ...

    @waits(Wait.LONGER)
    @abstractmethod
    @activity.defn
    def delete_server_groups_of(self, belongings: Belongings) -> None: ...
