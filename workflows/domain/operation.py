"""Operations: who asked for what, how far it is, and how it ended."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from workflows.domain.fact import Fact
from workflows.domain.instance import Address, CloudOffer, InstanceFacts, InstanceSpec, InstanceStatus


class OperationKind(StrEnum):
    """The verbs that take a group's lock; the value is what the tenant reads."""

    CREATE = "create"
    DELETE = "delete"
    RESTART = "restart"
    SETTLE = "settle"  # put right what an interrupted operation left behind


class OperationState(StrEnum):
    """Where an operation stands; only RUNNING is open."""

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
    """What every runbook is told: on which instance, by whom, and until when the asker waits.

    `operation_id` may be left out by operators and programs: the runbook then takes its first run id.
    Past `expires_at` the admission refuses, for nobody waits for the answer any more.
    """

    instance_id: UUID
    caller: Caller
    operation_id: UUID | None = None
    group_id: UUID | None = None
    expires_at: datetime | None = None

    @property
    def group(self) -> UUID:
        """The group whose lock the operation takes: a standalone instance is its own."""
        return self.group_id or self.instance_id


class CreateOrder(Order):
    """Build one database instance."""

    spec: InstanceSpec


class DeleteOrder(Order):
    """Delete one instance and everything that carries its tag.

    Until `quiet_at`, requests to the cloud of the operation that made way may still take effect.
    """

    quiet_at: datetime | None = None


class RestartOrder(Order):
    """Stop and start the database engine of one instance."""


class SettleOrder(Order):
    """Put right what an operation that was ended from outside has left behind."""


class AdmissionRequest(Fact):
    """What the records need to admit an operation: the order's frame and the run that holds the lock."""

    kind: OperationKind
    operation_id: UUID
    instance_id: UUID
    group_id: UUID
    caller: Caller
    expires_at: datetime | None = None
    workflow_id: str
    run_id: str
    first_execution_run_id: str
    spec: InstanceSpec | None = None  # of a creation: what to record and to charge
    offer: CloudOffer | None = None


class Admission(Fact):
    """The records' yes: the operation is open under this fence number, and this is the instance it touches.

    `interrupted` names the kind of a stale operation that this admission closed, for the one who must tidy up.
    """

    operation_id: UUID
    fence: int
    instance: InstanceFacts
    interrupted: OperationKind | None = None


class Learnt(Fact):
    """What a step found out about the instance's resources; None leaves the record as it is."""

    server_id: str | None = None
    volume_id: str | None = None
    port_id: str | None = None
    addresses: tuple[Address, ...] | None = None


class StepNote(Fact):
    """One step has ended and the next one begins, in one write. Refused with FenceLost when the operation is closed."""

    operation_id: UUID
    fence: int
    ended: str | None = None
    failed: bool = False  # whether the step that has ended did so with a failure
    begins: str | None = None
    learnt: Learnt | None = None


class Close(Fact):
    """The last word on an operation: outcome, the instance's final status, and in the failing case one sentence."""

    operation_id: UUID
    fence: int
    state: OperationState
    status: InstanceStatus | None = None
    deleted: bool = False
    reason: str | None = None
