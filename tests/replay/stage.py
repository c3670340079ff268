"""Where scenes are played for a recording: a server, the verbs of the scenes, and the histories that are kept."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import Worker

from contract.domain.operation import Caller, DeleteOrder, Order
from contract.keys.sealing import SecretBox
from contract.names import RUNBOOKS as RUNBOOKS_QUEUE
from contract.names import guest_queue, lock_id
from contract.ports.registration import verbs
from contract.wire.codec import data_converter
from tests.replay.backups import PlainBackups
from tests.replay.clients import connect
from tests.replay.kept import KEYRING
from tests.replay.ports import PlainGuest, PlainRecords
from tests.replay.script import Script
from tests.replay.settings import PlainSettings
from tests.replay.tls import PlainTls
from tests.temporal import TemporalServer, own_keyring
from workflows.instance.delete import DeleteInstance
from workflows.runbook import Runbook

CALLER = Caller(project_id="project", user_id="amy", request_id="req-1")
PATIENCE = 60
Handle = WorkflowHandle[Any, Any]


@dataclass
class Stage:
    """The parts, the verbs of the scenes, and the histories that are kept."""

    server: TemporalServer
    client: Client
    script: Script
    records: PlainRecords
    folder: Path
    threads: ThreadPoolExecutor

    @asynccontextmanager
    async def guest(self) -> AsyncIterator[UUID]:
        """An instance whose guest listens."""
        instance_id = uuid4()
        own = own_keyring(KEYRING, instance_id)
        client = await connect(self.server, data_converter(own))
        guest = PlainGuest(self.script, SecretBox(own, instance_id))
        asked = [*verbs(PlainGuest, guest), *verbs(PlainSettings, PlainSettings(self.script)),
                 *verbs(PlainTls, PlainTls(self.script)), *verbs(PlainBackups, PlainBackups(self.script))]  # fmt: skip
        async with Worker(
            client, task_queue=guest_queue(instance_id), activities=asked, activity_executor=self.threads,
        ):  # fmt: skip
            yield instance_id

    async def start(self, runbook: Any, order: Any, workflow_id: str) -> Handle:
        """Start a runbook."""
        return await self.client.start_workflow(runbook.run, order, id=workflow_id, task_queue=RUNBOOKS_QUEUE)

    async def operate(self, runbook: Any, order: Order) -> Handle:
        """Start an operation as the API does, and return when it is admitted."""
        start: Any = WithStartWorkflowOperation(
            runbook.run,
            order,
            id=lock_id(order.group),
            task_queue=RUNBOOKS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
        admitted: Any = Runbook.admitted
        with contextlib.suppress(WorkflowUpdateFailedError):  # a refusal; the run's end says the same
            await self.client.execute_update_with_start_workflow(admitted, start_workflow_operation=start)
        handle: Handle = await start.workflow_handle()
        return handle

    async def delete(self, instance_id: UUID) -> None:
        """Ask for a deletion as the API does, and return when it is admitted."""
        order = DeleteOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER)
        start: Any = WithStartWorkflowOperation(
            DeleteInstance.run,
            order,
            id=lock_id(instance_id),
            task_queue=RUNBOOKS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        deletion: Any = Runbook.delete
        await self.client.execute_update_with_start_workflow(deletion, order, start_workflow_operation=start)

    async def keep(self, name: str, handle: Handle, ends: str) -> None:
        """Wait for the end of exactly this run, which must be the expected one, and write its history."""
        run_id = handle.run_id or handle.first_execution_run_id or (await handle.describe()).run_id
        run = self.client.get_workflow_handle(handle.id, run_id=run_id)
        with contextlib.suppress(WorkflowFailureError, WorkflowContinuedAsNewError):
            await asyncio.wait_for(run.result(follow_runs=False), PATIENCE)
        history = await run.fetch_history()
        ended = str(history.events[-1].WhichOneof("attributes"))
        if ended != f"workflow_execution_{ends}_event_attributes":
            raise AssertionError(f"{name} ended with {ended}, not as {ends}")
        lines = [json.dumps(each, separators=(",", ":")) for each in history.to_json_dict()["events"]]
        (self.folder / f"{name}.json").write_text('{"events":[\n' + ",\n".join(lines) + "\n]}\n")
