"""The ports `Records` and `Administration`, over PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contract.domain.catalogue import CatalogueEntry, NewVersion, VersionChange
from contract.domain.errors import BadRequest, NotFound
from contract.domain.instance import DatastoreVersion, GuestState, HealthReport, InstanceFacts, InstanceSpec
from contract.domain.operation import Admission, AdmissionRequest, CloseOperation, StepsNote
from contract.ports.records import Administration, QuotaChange, Records, Rename, ResetStatus, RootNote
from records import administration, admission, catalogue, datastores, facts, operations, quotas, root
from records.engine import AsyncEngine, text

SOON = timedelta(seconds=2)  # an admission's transaction waits for the answer


@dataclass(frozen=True)
class RunQuestions:
    """Asks Temporal about runs."""

    client: Client

    async def is_open(self, workflow_id: str, run_id: str) -> bool:
        """Whether exactly this run is open."""
        try:
            handle = self.client.get_workflow_handle(workflow_id, run_id=run_id)
            return (await handle.describe(rpc_timeout=SOON)).status is WorkflowExecutionStatus.RUNNING
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise

    async def chain_is_open(self, workflow_id: str, first_execution_run_id: str) -> bool:
        """Whether a run of this chain is open: run ids change on continue-as-new, the chain's first does not."""
        try:
            found = await self.client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        first = found.raw_description.workflow_execution_info.first_run_id
        return found.status is WorkflowExecutionStatus.RUNNING and first == first_execution_run_id


@dataclass(frozen=True)
class PostgresRecords(Records, Administration):
    """One transaction an activity."""

    engine: AsyncEngine
    runs: RunQuestions
    default_quotas: Mapping[str, int]

    @activity.defn
    async def find_version(self, spec: InstanceSpec) -> DatastoreVersion:
        async with self.engine.connect() as conn:
            return await datastores.find_version(conn, spec)

    @activity.defn
    async def find_instance(self, instance_id: UUID) -> InstanceFacts:
        async with self.engine.connect() as conn:
            return await facts.facts_of(conn, instance_id)

    @activity.defn
    async def admit(self, request: AdmissionRequest) -> Admission:
        async def still_open() -> bool:
            return await self.runs.is_open(request.workflow_id, request.run_id)

        async with self.engine.begin() as conn:
            return await admission.Admitter(conn, request, self.default_quotas, still_open).admit()

    @activity.defn
    async def note_steps(self, note: StepsNote) -> None:
        async with self.engine.begin() as conn:
            await operations.note_steps(conn, note)

    @activity.defn
    async def close(self, close: CloseOperation) -> None:
        async with self.engine.begin() as conn:
            await operations.close(conn, close)

    @activity.defn
    async def record_health(self, report: HealthReport) -> bool | None:
        async with self.engine.begin() as conn:
            return await operations.record_health(conn, report)

    @activity.defn
    async def get_guest_state(self, instance_id: UUID) -> GuestState:
        async with self.engine.connect() as conn:
            return await operations.guest_state(conn, instance_id)

    @activity.defn
    async def note_root(self, note: RootNote) -> None:
        async with self.engine.begin() as conn:
            await root.note_root(conn, note)

    @activity.defn
    async def check(self) -> None:
        async with self.engine.connect() as conn:
            await conn.execute(text("SELECT 1"))

    @activity.defn
    async def reset_status(self, reset: ResetStatus) -> None:
        async with self.engine.begin() as conn:
            await administration.mark_error(conn, reset.instance_id)

    @activity.defn
    async def rename(self, rename: Rename) -> None:
        async with self.engine.begin() as conn:
            await administration.rename(conn, rename.instance_id, rename.name)

    @activity.defn
    async def create_version(self, new: NewVersion) -> None:
        async with self.engine.begin() as conn:
            await catalogue.create_version(conn, new)

    @activity.defn
    async def change_version(self, change: VersionChange) -> None:
        async with self.engine.begin() as conn:
            await catalogue.change_version(conn, change)

    @activity.defn
    async def delete_version(self, entry: CatalogueEntry) -> None:
        async with self.engine.begin() as conn:
            await catalogue.delete_version(conn, entry)

    @activity.defn
    async def delete_datastore(self, entry: CatalogueEntry) -> None:
        async with self.engine.begin() as conn:
            await catalogue.delete_datastore(conn, entry)

    @activity.defn
    async def set_quotas(self, change: QuotaChange) -> None:
        unknown = sorted(set(change.limits) - set(self.default_quotas))
        if unknown:
            raise NotFound(f"Quota could not be found for resource {unknown[0]}.")
        if any(limit < -1 for limit in change.limits.values()):
            raise BadRequest("Quota limit must be -1 (unlimited) or more.")
        async with self.engine.begin() as conn:
            await quotas.set_limits(conn, change.project_id, change.limits)
