"""Instances: what is ordered, what is known, and the two statuses that are kept."""

from enum import StrEnum
from uuid import UUID

from pydantic import Field

from contract.domain.accounts import NewDatabase, NewUser
from contract.domain.configurations import ConfigurationGroup
from contract.domain.fact import Fact
from contract.domain.resources import MAIN, Belongings, Resource, ResourceKind
from contract.domain.tls import Tls


class InstanceStatus(StrEnum):
    """Trove's `status`; written by runbooks alone, through the records port."""

    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    REBOOT = "REBOOT"
    RESIZE = "RESIZE"
    UPGRADE = "UPGRADE"
    RESTART_REQUIRED = "RESTART_REQUIRED"
    PROMOTE = "PROMOTE"
    EJECT = "EJECT"
    DETACH = "DETACH"
    BACKUP = "BACKUP"
    SHUTDOWN = "SHUTDOWN"
    ERROR = "ERROR"


class OperatingStatus(StrEnum):
    """Trove's `operating_status`; the watch tells it. NONE (the empty string) until the first report."""

    NONE = ""
    HEALTHY = "HEALTHY"
    BLOCKED = "BLOCKED"  # the engine answers, but takes no writes (for example: the volume is full)
    SHUTDOWN = "SHUTDOWN"  # stopped because a runbook wanted it stopped
    RESTARTING = "RESTARTING"
    FAILED = "FAILED"  # the guest gave up starting the engine
    ERROR = "ERROR"  # the guest is silent


class Locality(StrEnum):
    """How servers of one group are spread over hosts (Nova's server group policies)."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    SOFT_AFFINITY = "soft-affinity"
    SOFT_ANTI_AFFINITY = "soft-anti-affinity"


class Flavor(Fact):
    """A Nova flavor; `disk_gib` is its root disk."""

    id: str
    name: str
    ram_mib: int
    vcpus: int
    disk_gib: int = 0
    ephemeral_gib: int = 0


class DatastoreVersion(Fact):
    """One entry of the catalogue: which engine, in which version, from which Glance image.

    `manager` names the engine's facts in `contract.domain.datastores`; `image` is a Glance id or name.
    """

    id: UUID
    name: str
    number: str
    datastore_id: UUID
    datastore: str
    manager: str
    image: str = ""
    image_tags: tuple[str, ...] = ()
    flavors: tuple[str, ...] | None = None  # ids or names of those that it may be ordered with; None: all
    volume_types: tuple[str, ...] | None = None


class Nic(Fact):
    """The tenant's network that the database's port stands on."""

    network_id: str | None = None
    subnet_id: str | None = None
    ip_address: str | None = None


class Access(Fact):
    """Who may reach the port: CIDRs (none: everybody) and, when public, a floating IP."""

    is_public: bool = False
    allowed_cidrs: tuple[str, ...] = ()


class Address(Fact):
    """One address of the instance; `type` is `private` or `public` as Trove's view has it."""

    address: str
    type: str = "private"
    network: str | None = None


class InstanceSpec(Fact):
    """What the tenant ordered; the same from the request to the record.

    Programs may name the datastore (`datastore`, `datastore_version`: names or ids; none: the default version) and
    leave `version` out; the runbook then looks it up in the catalogue. A version that is given must be the catalogue's.
    """

    name: str
    datastore: str = ""
    datastore_version: str | None = None
    version: DatastoreVersion | None = None
    flavor: str  # id or name
    volume_gib: int = Field(ge=1)
    volume_type: str | None = None
    nic: Nic | None = None
    access: Access = Access()
    locality: Locality | None = None
    availability_zone: str | None = None
    region: str = "RegionOne"
    configuration_id: UUID | None = None
    backup_id: UUID | None = None  # whose data it is to have
    databases: tuple[NewDatabase, ...] = ()
    users: tuple[NewUser, ...] = ()

    def without_accounts(self) -> "InstanceSpec":
        """The same for those who need no first databases and users, and so no passwords."""
        return self.model_copy(update={"databases": (), "users": ()})


class CloudOffer(Fact):
    """What OpenStack answered to a spec: the flavor, and ids for the names in it."""

    flavor: Flavor
    image_id: str
    network_id: str
    network_name: str | None = None
    subnet_id: str | None = None
    volume_type: str | None = None


class InstanceFacts(Fact):
    """What runbooks know of an existing instance."""

    id: UUID
    group_id: UUID
    project_id: str
    name: str
    version: DatastoreVersion
    flavor: Flavor
    volume_gib: int
    status: InstanceStatus
    access: Access = Access()
    addresses: tuple[Address, ...] = ()
    locality: Locality | None = None
    configuration: ConfigurationGroup | None = None
    resources: tuple[Resource, ...] = ()
    tls: Tls = Tls()
    tls_before: Tls | None = None  # what a rollback goes back to
    volume_used_bytes: int | None = None  # as the watch saw it last
    volume_total_bytes: int | None = None

    @property
    def belongings(self) -> Belongings:
        """What it has in OpenStack, for those who ask OpenStack."""
        return Belongings(instance_id=self.id, resources=self.resources)

    def current(self, kind: ResourceKind) -> str:
        """OpenStack's id of the newest resource of a kind in the main role; an admission that needs a server requires one."""
        found = [each for each in self.resources if each.kind is kind and each.role == MAIN and each.id]
        return str(max(found, key=lambda each: each.generation).id)


class HealthReport(Fact):
    """The watch's word on one instance; times are the records' own clock."""

    instance_id: UUID
    operating_status: OperatingStatus
    volume_used_bytes: int | None = None
    volume_total_bytes: int | None = None
    guest_version: str | None = None
    seen: bool = True  # False: the guest is silent
    reason: str | None = None


class GuestState(Fact):
    """What was last seen of an instance's guest; `exists` is False when the instance is gone or being deleted."""

    exists: bool
    operating_status: OperatingStatus = OperatingStatus.NONE
    reason: str | None = None
    server_id: str | None = None
    volume_id: str | None = None


class ServerState(Fact):
    """What Nova and Cinder say of an instance's server; None: there is none."""

    status: str | None = None
    volume_status: str | None = None
