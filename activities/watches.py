"""The port `Watches`: a watch is a run of its own, one per instance."""

from dataclasses import dataclass
from uuid import UUID

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from contract.domain.errors import NotYet
from contract.names import RUNBOOKS, watch_id
from contract.ports.records import Watches
from contract.wire.clear_text import ClearText
from contract.wire.client import found_by
from records import sweeps
from records.engine import AsyncEngine
from workflows.instance.watch import WatchInstance, WatchOrder


@dataclass(frozen=True)
class TemporalWatches(Watches):
    """Watches as runs of their own, one per instance."""

    client: Client
    engine: AsyncEngine

    @activity.defn
    async def start_watch(self, instance_id: UUID) -> None:
        async with self.engine.connect() as conn:
            name, project_id = await sweeps.name_and_project(conn, instance_id)
        attributes = {"InstanceId": str(instance_id), "InstanceName": name, "ProjectId": project_id}
        await self.client.start_workflow(
            WatchInstance.run,
            WatchOrder(instance_id=instance_id),
            id=watch_id(instance_id),
            task_queue=RUNBOOKS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=ClearText(f"watch {name}"),
            search_attributes=found_by(attributes),
        )

    @activity.defn
    async def end_watch(self, instance_id: UUID) -> None:
        handle = self.client.get_workflow_handle(watch_id(instance_id))
        try:
            await handle.terminate("the instance is being deleted")
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:  # never started, or closed
                return
            raise
        raise NotYet(f"the watch of {instance_id} is ending")
