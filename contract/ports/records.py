"""The database of record, as runbooks write it. Every write names its operation and fence number."""

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any
from uuid import UUID

from temporalio import activity

from contract.domain.catalogue import CatalogueEntry, NewVersion, VersionChange
from contract.domain.fact import Fact
from contract.domain.instance import DatastoreVersion, GuestState, HealthReport, InstanceFacts, InstanceSpec
from contract.domain.operation import Admission, AdmissionRequest, Caller, CloseOperation, OperationKind, StepsNote


class RootNote(Fact):
    """A change of the root account: noted before the guest is asked, and once more with the result.

    `enabled` is None for the intent and true or false for the result; `done` False closes an intent that came to nothing.
    """

    instance_id: UUID
    request_id: str
    user_id: str
    wanted: bool
    done: bool | None = None


class Records(ABC):
    """Opening, following and closing operations."""

    @abstractmethod
    @activity.defn
    async def find_version(self, spec: InstanceSpec) -> DatastoreVersion:
        """Look up the catalogue entry that a spec names; BadRequest when there is none, or it is inactive."""

    @abstractmethod
    @activity.defn
    async def find_instance(self, instance_id: UUID) -> InstanceFacts:
        """Return what is known of an instance before an operation on it is admitted; NotFound when there is none."""

    @abstractmethod
    @activity.defn
    async def admit(self, request: AdmissionRequest) -> Admission:
        """Open the operation in one transaction, or refuse it.

        Look first for the own record, by operation id, and repeat its answer. Else, under the group's row lock: does the
        instance exist (NotFound), is its state right (Busy, with Trove's sentence), is there quota (QuotaExceeded), is the
        caller still waiting (Expired); close a stale open operation of the group as interrupted; give the next fence
        number; set the status; commit only while the asking run is open.
        """

    @abstractmethod
    @activity.defn
    async def note_steps(self, note: StepsNote) -> None: ...

    @abstractmethod
    @activity.defn
    async def close(self, close: CloseOperation) -> None:
        """Write outcome and final status; `deleted` releases the quota in the same transaction. A second close with the
        same outcome changes nothing."""

    @abstractmethod
    @activity.defn
    async def record_health(self, report: HealthReport) -> bool | None:
        """Write the watch's report. False: the records know of no server, of an instance that is gone or whose creation
        has not told yet what it made. None: an older release, which did not say."""

    @abstractmethod
    @activity.defn
    async def get_guest_state(self, instance_id: UUID) -> GuestState:
        """Return what the watch last wrote, and whether the instance is still there to be watched."""

    @abstractmethod
    @activity.defn
    async def note_root(self, note: RootNote) -> None: ...


class ResetStatus(Fact):
    """Whose status to reset, and who asks."""

    instance_id: UUID
    caller: Caller


class QuotaChange(Fact):
    """New ceilings of a project by resource; -1 is unlimited."""

    project_id: str
    limits: dict[str, int]


class Rename(Fact):
    """A new name for an instance."""

    instance_id: UUID
    name: str


class Administration(ABC):
    """What is changed in the records alone, without a runbook; standalone activities."""

    @abstractmethod
    @activity.defn
    async def check(self) -> None:
        """Answer, when the records do."""

    @abstractmethod
    @activity.defn
    async def reset_status(self, reset: ResetStatus) -> None:
        """Mark an instance as ERROR, which its health corrects; an operation that runs is left alone without a word.

        Clients reset the status before they delete by force: the deletion that they send next takes over.
        """

    @abstractmethod
    @activity.defn
    async def rename(self, rename: Rename) -> None: ...

    @abstractmethod
    @activity.defn
    async def set_quotas(self, change: QuotaChange) -> None: ...

    @abstractmethod
    @activity.defn
    async def create_version(self, new: NewVersion) -> None:
        """Add a datastore version; AlreadyExists for a name and number that the datastore has."""

    @abstractmethod
    @activity.defn
    async def change_version(self, change: VersionChange) -> None: ...

    @abstractmethod
    @activity.defn
    async def delete_version(self, entry: CatalogueEntry) -> None:
        """Remove a version; BadRequest while an instance, a configuration group or a backup has it."""

    @abstractmethod
    @activity.defn
    async def delete_datastore(self, entry: CatalogueEntry) -> None:
        """Remove a datastore; BadRequest while it has versions."""


class SweepOrder(Fact):
    """Which sweep: a method of the activity worker's sweeps, by name."""

    verb: str


class Sweeps(ABC):
    """Putting right what no run takes care of any more."""

    @abstractmethod
    @activity.defn
    async def sweep(self, order: SweepOrder) -> None:
        """Do a sweep again and again, for an hour; the heartbeat tells what the last turn found."""


class WaitingOrder(Fact):
    """An order that waits for the lock of its group until a time, and the run that waits; `order` as `runbook` is told it."""

    kind: OperationKind
    operation_id: UUID
    members: tuple[UUID, ...]
    group_id: UUID
    caller: Caller
    until: datetime
    workflow_id: str
    run_id: str
    runbook: str
    order: dict[str, Any]


class Locks(ABC):
    """Waiting for the lock of a group."""

    @abstractmethod
    @activity.defn
    async def start_when_free(self, order: WaitingOrder) -> None:
        """Start the runbook under the lock, and return when it is admitted; NotYet while another run has the lock.

        What it waits for is noted in the records. Its refusal is raised. NotFound when a deletion came first.
        """

    @abstractmethod
    @activity.defn
    async def stop_waiting(self, order: WaitingOrder) -> bool:
        """See to it that it is never admitted; False when it was, and then it counts."""


class Watches(ABC):
    """The watch of an instance, from outside."""

    @abstractmethod
    @activity.defn
    async def start_watch(self, instance_id: UUID) -> None: ...

    @abstractmethod
    @activity.defn
    async def end_watch(self, instance_id: UUID) -> None:
        """End the watch and return when it is closed."""
