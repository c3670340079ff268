"""A world for recordings: the ports, answering plausibly and at once, in this process."""

from uuid import UUID, uuid4

from temporalio import activity

from contract.domain.access import AccessRules
from contract.domain.accounts import Grant, RootAccount, User, UserChange, UserName
from contract.domain.catalogue import ImageRequest
from contract.domain.errors import FenceLost, NotYet, Refused
from contract.domain.instance import (
    Address,
    CloudOffer,
    DatastoreVersion,
    Flavor,
    GuestState,
    HealthReport,
    InstanceFacts,
    InstanceSpec,
    InstanceStatus,
    OperatingStatus,
    ServerState,
)
from contract.domain.operation import (
    Admission,
    AdmissionRequest,
    AdmittedMember,
    CloseOperation,
    OperationKind,
    StepsNote,
)
from contract.domain.resources import Belongings, Part
from contract.keys.sealing import SecretBox
from contract.ports.cloud import (
    Attached,
    FlavorChange,
    FlavorRequest,
    FloatingIpOrder,
    Networks,
    OfferRequest,
    Offers,
    Port,
    ResourceOrder,
    ServerOrder,
)
from contract.ports.guest import (
    FIRST_DATABASES,
    FIRST_USERS,
    Accounts,
    CallGate,
    DatabaseList,
    DatabaseName,
    DatabasesAfter,
    EngineOrder,
    Fenced,
    FirstAccounts,
    GateOrder,
    GuestInfo,
    Health,
    LastKnown,
    Lifecycle,
    NewDatabases,
    NewUsers,
    PasswordChanges,
    RootOrder,
    UserList,
    UsersAfter,
    UserToDelete,
    VolumeOrder,
    VolumeReport,
    Watching,
)
from contract.ports.identities import EnrolmentNote, GuestExpectation, Identities, TokenChange, TokenUse
from contract.ports.records import Records, RootNote, SweepOrder, Sweeps, Watches
from tests.replay.backups import backups_of
from tests.replay.facts import FLAVOR, VERSION, facts_of
from tests.replay.power import PlainPower
from tests.replay.script import Script
from tests.replay.upgrading import PlainUpgrading
from tests.replay.volumes import PlainVolumes

LARGER = Flavor(id="2", name="m1.small", ram_mib=1024, vcpus=1)
HEALTHY = Health(operating_status=OperatingStatus.HEALTHY, volume_used_bytes=1, volume_total_bytes=2**30)


class PlainCloud(Offers, Networks, PlainVolumes, PlainPower):
    """An OpenStack that has everything."""

    @activity.defn
    def check_order(self, request: OfferRequest) -> CloudOffer:
        self._script.play()
        return CloudOffer(flavor=FLAVOR, image_id="image", network_id="network", network_name="databases")

    @activity.defn
    def create_security_group(self, order: ResourceOrder) -> str:
        self._script.play()
        return "security-group"

    @activity.defn
    def set_access_rules(self, rules: AccessRules) -> None:
        self._script.play()

    @activity.defn
    def create_port(self, order: ResourceOrder) -> Port:
        self._script.play()
        return Port(id="port", addresses=(Address(address="10.0.0.5", network="network"),))

    @activity.defn
    def create_floating_ip(self, order: FloatingIpOrder) -> Address:
        self._script.play()
        return Address(address="203.0.113.5", type="public")

    @activity.defn
    def delete_floating_ips_of(self, belongings: Belongings) -> None:
        self._script.play()

    @activity.defn
    def delete_ports_of(self, belongings: Belongings) -> None:
        self._script.play()

    @activity.defn
    def delete_security_groups_of(self, belongings: Belongings) -> None:
        self._script.play()

    @activity.defn
    def create_server_group(self, order: ResourceOrder) -> str:
        self._script.play()
        return "server-group"

    @activity.defn
    def create_server(self, order: ServerOrder) -> str:
        self._script.play()
        return "server"

    @activity.defn
    def require_server_active(self, part: Part) -> str:
        self._script.play()
        return "server"

    @activity.defn
    def check_image(self, request: ImageRequest) -> None:
        raise _nobody_asks()

    @activity.defn
    def check_flavor(self, request: FlavorRequest) -> Flavor:
        self._script.play()
        return LARGER

    @activity.defn
    def resize_server(self, change: FlavorChange) -> None:
        self._script.play()

    @activity.defn
    def require_server_resized(self, change: FlavorChange) -> None:
        self._script.play()

    @activity.defn
    def require_resize_confirmed(self, server_id: str) -> None:
        self._script.play()

    @activity.defn
    def require_resize_settled(self, server_id: str) -> Flavor:
        self._script.play()
        return FLAVOR

    @activity.defn
    def get_server_state(self, attached: Attached) -> ServerState:
        self._script.play()
        return ServerState(status="ACTIVE", volume_status="in-use")

    @activity.defn
    def delete_servers_of(self, belongings: Belongings) -> None:
        self._script.play()

    @activity.defn
    def delete_server_groups_of(self, belongings: Belongings) -> None:
        self._script.play()


class PlainRecords(Records, Identities, Watches, Sweeps):
    """Records in memory: who has which fence number, and what was interrupted."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._fences: dict[UUID, int] = {}
        self._open: dict[UUID, UUID] = {}
        self.interrupted: OperationKind | None = None
        self.version = self.wanted = VERSION

    @activity.defn
    async def find_version(self, spec: InstanceSpec) -> DatastoreVersion:
        self._script.play()
        return self.wanted

    @activity.defn
    async def find_instance(self, instance_id: UUID) -> InstanceFacts:
        self._script.play()
        return facts_of(instance_id, instance_id, InstanceStatus.ACTIVE, self.version)

    @activity.defn
    async def admit(self, request: AdmissionRequest) -> Admission:
        self._script.play()
        instance_id = request.members[0].instance_id
        if self._open.get(instance_id) != request.operation_id:
            self._fences[instance_id] = self._fences.get(instance_id, 0) + 1
            self._open[instance_id] = request.operation_id
        status = InstanceStatus.BUILD if request.kind is OperationKind.CREATE else InstanceStatus.ACTIVE
        facts = facts_of(instance_id, request.group_id, status, self.version)
        interrupted = self.interrupted if request.kind is OperationKind.SETTLE else None
        return Admission(
            operation_id=request.operation_id,
            fence=self._fences[instance_id],
            members=(AdmittedMember(instance=facts, interrupted=interrupted, **backups_of(request, interrupted)),),
        )

    def _require_open(self, operation_id: UUID) -> None:
        if operation_id not in self._open.values():
            raise FenceLost(f"operation {operation_id} is closed; a newer one has taken over")

    @activity.defn
    async def note_steps(self, note: StepsNote) -> None:
        self._script.play()
        self._require_open(note.operation_id)

    @activity.defn
    async def close(self, close: CloseOperation) -> None:
        self._script.play()
        self._require_open(close.operation_id)

    @activity.defn
    async def get_guest_state(self, instance_id: UUID) -> GuestState:
        self._script.play()
        return GuestState(exists=True)

    @activity.defn
    async def record_health(self, report: HealthReport) -> bool | None:
        self._script.play()
        return True

    @activity.defn
    async def note_root(self, note: RootNote) -> None:
        self._script.play()

    @activity.defn
    async def expect_guest(self, expectation: GuestExpectation) -> int:
        self._script.play()
        self._require_open(expectation.operation_id)
        return 1

    @activity.defn
    async def enrol_guest(self, note: EnrolmentNote) -> None:
        raise _nobody_asks()

    @activity.defn
    async def note_first_use(self, use: TokenUse) -> None:
        raise _nobody_asks()

    @activity.defn
    async def change_token(self, change: TokenChange) -> None:
        raise _nobody_asks()

    @activity.defn
    async def revoke_guest(self, instance_id: UUID) -> None:
        self._script.play()

    @activity.defn
    async def start_watch(self, instance_id: UUID) -> None:
        self._script.play()

    @activity.defn
    async def end_watch(self, instance_id: UUID) -> None:
        """Ends at the second question, as a watch that was terminated."""
        self._script.play()
        if activity.info().attempt == 1:
            raise NotYet(f"the watch of {instance_id} is ending")

    @activity.defn
    async def sweep(self, order: SweepOrder) -> None:
        self._script.play()


class PlainGuest(Lifecycle, Watching, Accounts, CallGate, PlainUpgrading):
    """A guest whose engine does as it is told."""

    def __init__(self, script: Script, box: SecretBox) -> None:
        self._script = script
        self._box = box

    @activity.defn
    async def prepare_volume(self, order: VolumeOrder) -> VolumeReport:
        self._script.play()
        return VolumeReport(total_bytes=2**30, used_bytes=1)

    @activity.defn
    def initialise_datastore(self, order: EngineOrder) -> None:
        self._script.play()

    @activity.defn
    def configure_datastore(self, order: EngineOrder) -> None:
        self._script.play()

    @activity.defn
    def start_datastore(self, order: Fenced) -> GuestInfo:
        self._script.play()
        return GuestInfo(guest_version="0", engine_version=self._script.runs)

    @activity.defn
    def close_gate(self, order: GateOrder) -> None:
        self._script.play()

    @activity.defn
    def open_gate(self, order: Fenced) -> None:
        self._script.play()

    @activity.defn
    def stop_datastore(self, order: Fenced) -> None:
        self._script.play()

    @activity.defn
    def create_first_accounts(self, order: FirstAccounts) -> None:
        self._script.play()

    @activity.defn
    async def watch_health(self, known: LastKnown) -> Health:
        self._script.play()
        return HEALTHY

    @activity.defn
    async def get_health(self) -> Health:
        self._script.play()
        return HEALTHY

    @activity.defn
    def enable_root(self, order: RootOrder) -> RootAccount:
        self._script.play()
        return RootAccount(name="root", password=order.password or self._box.seal(str(uuid4())))

    @activity.defn
    def disable_root(self, order: RootOrder) -> None:
        self._script.play()

    # -- short calls: no runbook asks for these ------------------------------------------------------------------------

    @activity.defn
    def list_databases(self, page: DatabasesAfter = FIRST_DATABASES) -> DatabaseList:
        raise _nobody_asks()

    @activity.defn
    def create_databases(self, order: NewDatabases) -> None:
        raise _nobody_asks()

    @activity.defn
    def delete_database(self, order: DatabaseName) -> None:
        raise _nobody_asks()

    @activity.defn
    def list_users(self, page: UsersAfter = FIRST_USERS) -> UserList:
        raise _nobody_asks()

    @activity.defn
    def get_user(self, user: UserName) -> User:
        raise _nobody_asks()

    @activity.defn
    def create_users(self, order: NewUsers) -> None:
        raise _nobody_asks()

    @activity.defn
    def update_user(self, change: UserChange) -> None:
        raise _nobody_asks()

    @activity.defn
    def change_passwords(self, order: PasswordChanges) -> None:
        raise _nobody_asks()

    @activity.defn
    def delete_user(self, order: UserToDelete) -> None:
        raise _nobody_asks()

    @activity.defn
    def grant_access(self, grant: Grant) -> None:
        raise _nobody_asks()

    @activity.defn
    def revoke_access(self, grant: Grant) -> None:
        raise _nobody_asks()


def _nobody_asks() -> Refused:
    return Refused("no runbook asks for this")
