"""Starting a runbook and waiting for its admission, in one call."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, TemporalError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.context import RequestContext, Services
from api.faults import Fault, of_refusal, unavailable
from contract.domain.access import AccessChange, ChangeAccessOrder
from contract.domain.backups import NewBackup
from contract.domain.changes import BackUpOrder, ChangeTlsOrder, RebuildOrder, ResizeVolumeOrder, UpgradeOrder
from contract.domain.errors import innermost
from contract.domain.instance import InstanceSpec
from contract.domain.operation import (
    CreateOrder,
    DeleteOrder,
    OperationState,
    Order,
    ResizeFlavorOrder,
    RestartOrder,
    SettleOrder,
)
from contract.domain.reconfiguring import ReconfigureOrder
from contract.domain.servers import MigrateOrder, PowerOrder
from contract.domain.tls import Tls
from contract.names import RUNBOOKS, lock_id
from contract.ports.backup_records import DeleteBackupOrder, backup_lock_id
from contract.wire.clear_text import ClearText
from contract.wire.client import found_by
from records.engine import SQLAlchemyError
from records.reads import Reader
from records.requests import Requests
from records.views import InstanceView
from workflows.backup import DeleteBackup
from workflows.instance.back_up import BackUpInstance
from workflows.instance.change_access import ChangeAccess
from workflows.instance.change_tls import ChangeTls
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.migrate import MigrateServer
from workflows.instance.rebuild import RebuildInstance
from workflows.instance.reconfigure import ReconfigureInstance
from workflows.instance.resize_flavor import ResizeFlavor
from workflows.instance.resize_volume import ResizeVolume
from workflows.instance.restart import RestartInstance
from workflows.instance.settle import SettleInstance
from workflows.instance.upgrade import UpgradeInstance
from workflows.runbook import Runbook

log = logging.getLogger(__name__)

# the SDK's types do not fit updates of a base class
DELETE: Any = Runbook.delete
ADMITTED: Any = Runbook.admitted
BEGUN: Any = DeleteBackup.begun
GAP_LOOKS, GAP_PAUSE = 40, 0.05  # two seconds
END_PAUSE = 0.1
MARGIN = 0.5  # seconds that we wait beyond the expiry: whoever was admitted in time is answered
PATIENCE = 3.0  # seconds, before we ask whether a run can go on at all
SOON = timedelta(seconds=2)
STUCK = 3  # attempts at one workflow task: its code cannot go on from its history


@dataclass(frozen=True)
class Operations:
    """Opens operations for one caller. Each answer is true: the operation is admitted, or it will not happen."""

    temporal: Client
    reader: Reader
    requests: Requests
    seconds: float
    context: RequestContext

    async def create(self, instance_id: UUID, spec: InstanceSpec, *, again: bool = False) -> None:
        """Order an instance; return once it is admitted. `again`: somebody else may have ordered the same."""
        order = CreateOrder(instance_id=instance_id, spec=spec, **self._frame())
        await self._open(CreateInstance, order, f"create {spec.name}", join=again)

    async def restart(self, instance: InstanceView, operation_id: UUID) -> None:
        """Order a restart, under the id that its operation will have."""
        order = RestartOrder(**self._frame_of(instance, operation_id))
        await self._open(RestartInstance, order, f"restart {instance.name}")

    async def resize_flavor(self, instance: InstanceView, flavor: str, operation_id: UUID) -> None:
        """Order another flavor, by id or name."""
        order = ResizeFlavorOrder(flavor=flavor, **self._frame_of(instance, operation_id))
        await self._open(ResizeFlavor, order, f"resize {instance.name} to flavor {flavor}")

    async def change_access(self, instance: InstanceView, change: AccessChange, operation_id: UUID) -> None:
        """Order a change of who may reach the instance."""
        order = ChangeAccessOrder(change=change, **self._frame_of(instance, operation_id))
        await self._open(ChangeAccess, order, f"change access to {instance.name}")

    async def power(self, runbook: Any, instance: InstanceView, operation_id: UUID) -> None:
        """Order a stop, a start or a reboot."""
        order = PowerOrder(**self._frame_of(instance, operation_id))
        await self._open(runbook, order, f"{runbook.kind.value} {instance.name}")

    async def migrate(self, instance: InstanceView, host: str | None, operation_id: UUID) -> None:
        """Order a move to another host."""
        order = MigrateOrder(host=host, **self._frame_of(instance, operation_id))
        await self._open(MigrateServer, order, f"migrate {instance.name}")

    async def settle(self, instance: InstanceView, operation_id: UUID) -> None:
        """Have put right what an operation that was ended from outside has left behind."""
        order = SettleOrder(instance_ids=(instance.id,), group_id=instance.group_id, **self._frame(operation_id))
        await self._open(SettleInstance, order, f"settle {instance.name}")

    async def reconfigure(self, instance: InstanceView, configuration_id: UUID | None, operation_id: UUID) -> None:
        """Order the settings of a group, or of none; return when they are in force, or after a while if that takes longer.

        Fault where the engine did not take them: then it has those that it had.
        """
        order = ReconfigureOrder(configuration_id=configuration_id, **self._frame_of(instance, operation_id))
        await self._open(ReconfigureInstance, order, f"reconfigure {instance.name}")
        await self._done(operation_id, f"Instance {instance.id} has the settings that it had")

    async def change_tls(self, instance: InstanceView, tls: Tls | None, operation_id: UUID) -> None:
        """Order other TLS, or with None what there was before the last change; return when it counts, as above."""
        order = ChangeTlsOrder(tls=tls or Tls(), rollback=tls is None, **self._frame_of(instance, operation_id))
        await self._open(ChangeTls, order, f"change TLS of {instance.name}")
        await self._done(operation_id, f"Instance {instance.id} has the TLS that it had")

    async def _done(self, operation_id: UUID, otherwise: str) -> None:
        for state, reason in await self.ends([operation_id]):
            if state != OperationState.DONE.value:
                raise Fault(400, f"{otherwise}: {reason}.")

    async def ends(self, operation_ids: Sequence[UUID]) -> Sequence[tuple[str, str | None]]:
        """Wait until operations have ended, but not for long; return how, as far as they have."""
        deadline = time.monotonic() + self.seconds
        while True:
            found = await self.reader.list_ends(operation_ids)
            if len(found) == len(operation_ids) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(END_PAUSE)

    async def resize_volume(self, instance: InstanceView, size_gib: int, operation_id: UUID) -> None:
        """Order a larger volume."""
        order = ResizeVolumeOrder(size_gib=size_gib, **self._frame_of(instance, operation_id))
        await self._open(ResizeVolume, order, f"resize the volume of {instance.name} to {size_gib} GiB")

    async def rebuild(self, instance: InstanceView, image_id: str, operation_id: UUID) -> None:
        """Order the server on an image."""
        order = RebuildOrder(image=image_id, **self._frame_of(instance, operation_id))
        await self._open(RebuildInstance, order, f"rebuild {instance.name} on image {image_id}")

    async def upgrade(self, instance: InstanceView, version: str, operation_id: UUID) -> None:
        """Order another version of the datastore, by name or id."""
        order = UpgradeOrder(version=version, **self._frame_of(instance, operation_id))
        await self._open(UpgradeInstance, order, f"upgrade {instance.name} to version {version}")

    async def back_up(self, instance: InstanceView, new: NewBackup) -> None:
        """Order a backup."""
        order = BackUpOrder(backup=new, **self._frame_of(instance))
        await self._open(BackUpInstance, order, f"back up {instance.name}")

    async def delete_backup(self, backup_id: UUID, *, objects_gone: bool) -> None:
        """Order the deletion of a backup; return when nobody can restore from it any more."""
        expires = datetime.now(UTC) + timedelta(seconds=self.seconds)
        order = DeleteBackupOrder(
            id=backup_id, caller=self.context.caller(), expires_at=expires, objects_gone=objects_gone
        )
        start = WithStartWorkflowOperation(
            DeleteBackup.run,
            order,
            id=backup_lock_id(backup_id),
            task_queue=RUNBOOKS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=ClearText("delete a backup"),
        )
        try:
            await asyncio.wait_for(self._ask(start, BEGUN), self.seconds + MARGIN)
        except (WorkflowUpdateFailedError, WorkflowFailureError) as error:
            raise _fault_of(error) from None
        except (TemporalError, TimeoutError):
            raise unavailable() from None

    async def delete(self, instance: InstanceView) -> None:
        """Order a deletion; whatever runs makes way for it."""
        order = DeleteOrder(**self._frame_of(instance))
        await self._open(DeleteInstance, order, f"delete {instance.name}", join=True)

    def _frame_of(self, instance: InstanceView, operation_id: UUID | None = None) -> dict[str, Any]:
        return {"instance_id": instance.id, "group_id": instance.group_id, **self._frame(operation_id)}

    def _frame(self, operation_id: UUID | None = None) -> dict[str, Any]:
        return {
            "caller": self.context.caller(),
            "operation_id": operation_id or uuid4(),
            "expires_at": datetime.now(UTC) + timedelta(seconds=self.seconds),
        }

    async def _open(self, runbook: Any, order: Order, summary: str, *, join: bool = False) -> None:
        opening = self._start_or_replace if isinstance(order, DeleteOrder) else self._start_when_free
        try:
            await asyncio.wait_for(opening(runbook, order, summary, join), self.seconds + MARGIN)
        except (WorkflowUpdateFailedError, WorkflowFailureError) as error:
            fault = _fault_of(error)
            if fault.code != 503:
                raise fault from None
            await self._admitted_or_withdrawn(order)
        except (TemporalError, TimeoutError):
            await self._admitted_or_withdrawn(order)

    async def _start_when_free(self, runbook: Any, order: Order, summary: str, join: bool) -> None:
        """The records close an operation a moment before its run ends: in between, nobody is busy, and we wait."""
        for _ in range(GAP_LOOKS):
            try:
                return await self._start(runbook, order, summary, join)
            except WorkflowAlreadyStartedError:
                await self._refuse_busy(order)
            await asyncio.sleep(GAP_PAUSE)
        raise TimeoutError

    async def _start_or_replace(self, runbook: Any, order: Order, summary: str, join: bool) -> None:
        """Have a deletion admitted by the run that works on the instance; one that cannot go on is ended.

        Of such a run Temporal says nothing, or at once that its workflow task is in failed state.
        """
        asking = asyncio.ensure_future(self._start(runbook, order, summary, join))
        try:
            await asyncio.wait([asking], timeout=PATIENCE)
            answered = asking.done() and not isinstance(asking.exception(), RPCError)
            if answered or not await self._end_stuck_run(order):
                return await asking
        finally:
            asking.cancel()
            asking.add_done_callback(_ignore)
        return await self._start(runbook, order, summary, join)

    async def _end_stuck_run(self, order: Order) -> bool:
        """End a run whose code fails at its own history; whether there was one. The deletion takes care of the rest."""
        try:
            found = await self.temporal.get_workflow_handle(lock_id(order.group)).describe(rpc_timeout=SOON)
            attempts = found.raw_description.pending_workflow_task.attempt
            if attempts < STUCK:
                return False
            log.error("%s: run %s of %s (%s) cannot go on after %d attempts at its workflow task; it is ended, because "
                      "the instance is being deleted", self.context.request_id, found.run_id, found.id,
                      found.workflow_type, attempts)  # fmt: skip
            stuck = self.temporal.get_workflow_handle(found.id, run_id=found.run_id)
            await stuck.terminate(reason="it cannot go on, and its instance is being deleted", rpc_timeout=SOON)
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND  # it has ended meanwhile
        return True

    async def _start(self, runbook: Any, order: Order, summary: str, join: bool) -> None:
        start = WithStartWorkflowOperation(
            runbook.run,
            order,
            id=lock_id(order.group),
            task_queue=RUNBOOKS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING if join else WorkflowIDConflictPolicy.FAIL,
            static_summary=ClearText(summary),
            search_attributes=found_by(order.search_attributes(order.operation_id)) if order.operation_id else None,
        )
        if isinstance(order, DeleteOrder):
            await self._ask(start, DELETE, order, id=str(order.operation_id))
        else:
            await self._ask(start, ADMITTED, id=str(order.operation_id))

    async def _ask(self, start: Any, update: Any, *said: Order, id: str | None = None) -> None:  # noqa: A002 - Temporal's
        """Ask an update of a run, and start it where there is none."""
        # asyncio logs a failure that nobody looks at: the handle has that of the call
        heard = asyncio.ensure_future(start.workflow_handle())
        heard.add_done_callback(_ignore)
        try:
            await self.temporal.execute_update_with_start_workflow(
                update, args=said, start_workflow_operation=start, id=id
            )
        finally:
            heard.cancel()

    async def _refuse_busy(self, order: Order) -> None:
        """422 naming the operation that runs, if there is one."""
        running = await self.reader.running_kind(order.group)
        if running is None:
            return
        raise Fault(422, f"Instance {order.members[0]} is not currently available for an action to be performed "
                         f"(operation {running} is running).")  # fmt: skip

    async def _admitted_or_withdrawn(self, order: Order) -> None:
        """Nobody answered in time: either the operation is recorded, or it is seen to that it never will be.

        Where the records do not answer, they admit nothing either, and after the expiry they never do.
        """
        assert order.operation_id is not None  # noqa: S101 - the frame above
        with contextlib.suppress(TimeoutError, SQLAlchemyError):
            if not await self.requests.withdraw(order.operation_id):
                return
        raise unavailable()


def _fault_of(error: WorkflowUpdateFailedError | WorkflowFailureError) -> Fault:
    cause = innermost(error.cause)
    return of_refusal(cause) if isinstance(cause, ApplicationError) else unavailable()


def _ignore(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()


def operations_of(services: Services, context: RequestContext) -> Operations:
    """The operations that a caller may open."""
    return Operations(
        services.temporal, services.reader, services.requests, services.settings.admission_seconds, context
    )


async def cancel(temporal: Client, workflow_id: str, run_id: str) -> None:
    """Ask exactly this run to stop; no error if it has ended."""
    try:
        await temporal.get_workflow_handle(workflow_id, run_id=run_id).cancel(rpc_timeout=3 * SOON)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
