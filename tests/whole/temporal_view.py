"""What runs of an instance, as Temporal has it: the records may be seconds behind."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from temporalio.api.enums.v1 import PendingActivityState as State
from temporalio.client import Client, PendingActivityState, WorkflowExecutionStatus

from contract.names import lock_id
from tests.stack import RunningStack

SECONDS = 120.0  # that a step may take to be reached, on a busy machine


@dataclass(frozen=True)
class Attempt:
    """The last attempt at a step that has ended; times are Temporal's."""

    number: int
    began: datetime
    ended: datetime


@dataclass(frozen=True)
class TemporalView:
    """Asks the Temporal of a stack."""

    stack: RunningStack

    def wait_for_step(self, instance_id: str, step: str) -> None:
        """Wait until somebody works on a step of the operation that runs."""

        async def works(client: Client) -> bool:
            described = (await client.get_workflow_handle(lock_id(UUID(instance_id))).describe()).raw_description
            return any(
                each.activity_type.name == step and each.state == State.PENDING_ACTIVITY_STATE_STARTED
                for each in described.pending_activities
            )

        self._wait(works, f"{step} does not run")

    def wait_for_call(self, instance_id: str, verb: str) -> None:
        """Wait until the guest works on a short call."""

        async def works(client: Client) -> bool:
            query = f"InstanceId = '{instance_id}' AND ActivityType = '{verb}' AND ExecutionStatus = 'Running'"
            found = [each async for each in client.list_activities(query)]
            described = [await client.get_activity_handle(each.activity_id).describe() for each in found]
            return any(each.run_state is PendingActivityState.STARTED for each in described)

        self._wait(works, f"{verb} does not run")

    def wait_until_none_runs(self) -> None:
        """Wait until no operation of any instance is open: what was not admitted by then never will be."""

        async def none(client: Client) -> bool:
            query = "ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH 'group/'"
            return not [each async for each in client.list_workflows(query)]

        self._wait(none, "operations still run")

    def wait_for_end(self, instance_id: str) -> None:
        """Wait until the last operation has ended, however."""

        async def ended(client: Client) -> bool:
            described = await client.get_workflow_handle(lock_id(UUID(instance_id))).describe()
            return described.status is not WorkflowExecutionStatus.RUNNING

        self._wait(ended, "the operation still runs")

    def attempts(self, instance_id: str, *steps: str) -> list[Attempt]:
        """The attempts with which steps of the last operation were done."""

        async def found() -> list[Attempt]:
            history = await (await self._client()).get_workflow_handle(lock_id(UUID(instance_id))).fetch_history()
            events = {each.event_id: each for each in history.events}
            attempts = []
            for each in history.events:
                done = each.activity_task_completed_event_attributes
                scheduled = events.get(done.scheduled_event_id)
                if scheduled and scheduled.activity_task_scheduled_event_attributes.activity_type.name in steps:
                    began = events[done.started_event_id]
                    number = began.activity_task_started_event_attributes.attempt
                    attempts.append(Attempt(number, began.event_time.ToDatetime(), each.event_time.ToDatetime()))
            return attempts

        return asyncio.run(found())

    async def _client(self) -> Client:
        return await Client.connect(f"127.0.0.1:{self.stack.settings.temporal_port}", namespace="coffer")

    def _wait(self, true: Callable[[Client], Awaitable[bool]], otherwise: str) -> None:
        async def wait() -> None:
            client = await self._client()
            while not await true(client):  # noqa: ASYNC110 - Temporal tells nobody
                await asyncio.sleep(0.01)

        async def bounded() -> None:
            try:
                await asyncio.wait_for(wait(), SECONDS)
            except TimeoutError:
                raise AssertionError(otherwise) from None

        asyncio.run(bounded())
