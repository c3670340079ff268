"""Operations: who asked for what, how far it is, and how it ended."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from contract.domain.backups import BackupChange, BackupFacts, NewBackup
from contract.domain.configurations import Attachment, ConfigurationGroup
from contract.domain.fact import Fact
from contract.domain.instance import Access, Address, CloudOffer, Flavor, InstanceFacts, InstanceSpec, InstanceStatus
from contract.domain.resources import Resource
from contract.domain.tls import TlsChange


class OperationKind(StrEnum):
    """The verbs that take a group's lock; the value is what the tenant reads."""

    CREATE = "create"
    DELETE = "delete"
    RESTART = "restart"
    RESIZE_FLAVOR = "resize_flavor"
    CHANGE_ACCESS = "change_access"
    STOP = "stop"
    START = "start"
    REBOOT = "reboot"
    MIGRATE = "migrate"
    RECONFIGURE = "reconfigure"
    RESIZE_VOLUME = "resize_volume"
    REBUILD = "rebuild"
    UPGRADE = "upgrade"
    CHANGE_TLS = "change_tls"
    BACKUP = "backup"
    SETTLE = "settle"  # put right what an interrupted operation left behind


class OperationState(StrEnum):
    """Where an operation stands; only RUNNING is open."""

    WAITING = "WAITING"  # for the lock of its group; it was not admitted yet
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"  # its run ended from outside: terminated, or lost


class Caller(Fact):
    """Who asked; travels with every order and into the operation's record."""

    project_id: str
    user_id: str = ""
    request_id: str = ""
    is_admin: bool = False


class Order(Fact):
    """What every runbook is told: on which members of a group, by whom, and until when the caller waits.

    `operation_id` may be left out by operators and programs: the runbook then takes its first run id.
    Past `expires_at` the admission refuses, for nobody waits for the answer any more. With `waits_until` the runbook may be
    started under `waiting_id(operation_id)`: it waits for the lock until then, and starts itself under it.
    """

    caller: Caller
    operation_id: UUID | None = None
    group_id: UUID | None = None
    expires_at: datetime | None = None
    waits_until: datetime | None = None

    @property
    def members(self) -> tuple[UUID, ...]:
        """The instances that the operation works on."""
        raise NotImplementedError

    @property
    def group(self) -> UUID:
        """The group whose lock the operation takes: a standalone instance is its own."""
        return self.group_id or self.members[0]

    def search_attributes(self, operation_id: UUID) -> dict[str, str]:
        """What a run with this order is found by, as far as the order says it."""
        caller = self.caller
        return {
            "ProjectId": caller.project_id,
            "InstanceId": str(self.members[0]),
            "OperationId": str(operation_id),
            "RequestId": caller.request_id,
        }


class InstanceOrder(Order):
    """An order about one instance."""

    instance_id: UUID

    @property
    def members(self) -> tuple[UUID, ...]:
        """That instance."""
        return (self.instance_id,)


class GroupOrder(Order):
    """An order about several members of one group."""

    instance_ids: tuple[UUID, ...] = Field(min_length=1)

    @property
    def members(self) -> tuple[UUID, ...]:
        """Those instances."""
        return self.instance_ids


class CreateOrder(InstanceOrder):
    """Build one database instance."""

    spec: InstanceSpec

    def search_attributes(self, operation_id: UUID) -> dict[str, str]:
        """With the name, and the datastore where the order brings its version from the catalogue, as the API's do."""
        more = {"InstanceName": self.spec.name}
        if self.spec.version is not None:
            more["Datastore"] = self.spec.version.datastore
        return {**super().search_attributes(operation_id), **more}


class DeleteOrder(InstanceOrder):
    """Delete one instance and everything that carries its tag.

    Until `quiet_at`, requests to the cloud of the operation that made way may still take effect.
    """

    quiet_at: datetime | None = None


class RestartOrder(InstanceOrder):
    """Stop and start the database engine of one instance."""


class ResizeFlavorOrder(InstanceOrder):
    """Give one instance another flavor, by id or name."""

    flavor: str


class SettleOrder(GroupOrder):
    """Put right what operations that were ended from outside have left behind."""


class MemberRequest(Fact):
    """One member of the group that an operation works on: one that it makes, or one that is there."""

    instance_id: UUID
    spec: InstanceSpec | None = None  # of one that it makes: what to record and to charge
    offer: CloudOffer | None = None
    flavor: Flavor | None = None  # of a resize: what the instance is to have, and to be charged for
    attachment: Attachment | None = None  # the configuration group that it is to have, or none
    volume_gib: int | None = None  # the same
    backup: NewBackup | None = None  # that is to be made of it


class AdmissionRequest(Fact):
    """What the records need to admit an operation: the order's frame and the run that holds the lock."""

    kind: OperationKind
    operation_id: UUID
    members: tuple[MemberRequest, ...] = Field(min_length=1)
    group_id: UUID
    caller: Caller
    expires_at: datetime | None = None
    workflow_id: str
    run_id: str
    first_execution_run_id: str


class AdmittedMember(Fact):
    """A member as it is when the operation begins.

    `interrupted` names the kind of an operation that was ended from outside and has left the member half-way: this
    operation has to put that right. `wanted` is the configuration group whose settings it is to be given. `restores` is the
    backup whose data a new one gets; `backup` one of the member that is not complete: this operation's, or one that was
    interrupted.
    """

    instance: InstanceFacts
    wanted: ConfigurationGroup | None = None
    interrupted: OperationKind | None = None
    restores: BackupFacts | None = None
    backup: BackupFacts | None = None


class Admission(Fact):
    """The records' yes: the operation is open under this fence number, and these are the members it works on."""

    operation_id: UUID
    fence: int
    members: tuple[AdmittedMember, ...]


class ResourceChanges(Fact):
    """What steps found out about one member; None leaves the record as it is."""

    instance_id: UUID
    resources: tuple[Resource, ...] = ()
    gone: tuple[str, ...] = ()  # ids of what was deleted
    addresses: tuple[Address, ...] | None = None
    flavor: Flavor | None = None
    access: Access | None = None
    attachment: Attachment | None = None
    restart_required: bool | None = None
    configured: datetime | None = None  # when the settings that it was given were written to the group
    volume_gib: int | None = None
    version_id: UUID | None = None  # of the catalogue
    tls: TlsChange | None = None
    backup: BackupChange | None = None


class Step(Fact):
    """One step of an operation; `number` counts from 1, `outcome` is None while it runs. Times are those of the run.

    `instance_id` is the member that it is about; None: the group.
    """

    number: int
    name: str
    instance_id: UUID | None = None
    began: datetime
    ended: datetime | None = None
    outcome: OperationState | None = None


class StepsNote(Fact):
    """What is new of an operation's steps since the last note. Refused with FenceLost when the operation is closed."""

    operation_id: UUID
    fence: int
    steps: tuple[Step, ...] = ()
    learnt: tuple[ResourceChanges, ...] = ()  # of each member at most one


class MemberEnd(Fact):
    """What an operation leaves of a member; status None: what it was before."""

    instance_id: UUID
    status: InstanceStatus | None = None
    deleted: bool = False
    reason: str | None = None


class CloseOperation(StepsNote):
    """The last word on an operation: outcome, what it leaves of each member, and in the failing case one sentence."""

    state: OperationState
    reason: str | None = None
    ends: tuple[MemberEnd, ...] = ()
