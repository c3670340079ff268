"""The port `Sweeps`: compares the records with Temporal and with OpenStack, again and again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.openstack.leftovers import Leftover, Leftovers
from activities.records import RunQuestions
from activities.settings import ActivitySettings
from activities.watches import TemporalWatches
from contract.domain.errors import NotYet, Refused
from contract.domain.operation import Caller, Order, SettleOrder
from contract.domain.reconfiguring import ReconfigureOrder
from contract.names import RUNBOOKS, lock_id, watch_id
from contract.ports.records import SweepOrder, Sweeps
from contract.wire.clear_text import ClearText
from records import operations, sweeps
from records.engine import AsyncEngine
from workflows.instance.reconfigure import ReconfigureInstance
from workflows.instance.settle import SettleInstance

SECONDS = {  # from turn to turn
    "settle_stale_operations": 20,
    "restart_missing_watches": 60,
    "refresh_configurations": 60,
    "sweep_leftovers": 300,
    "mirror_flavors": 60,
}
HOUR = 3600  # seconds; the next attempt goes on
LONGEST_TURN = 60  # seconds
BEAT = 5  # seconds between heartbeats
SYSTEM = "coffer"  # the caller of what nobody asked for


@dataclass(frozen=True)
class RepeatedSweeps(Sweeps):
    """Compares the records with Temporal and with OpenStack."""

    engine: AsyncEngine
    client: Client
    cloud: Leftovers
    settings: ActivitySettings

    @activity.defn
    async def sweep(self, order: SweepOrder) -> None:
        if order.verb not in SECONDS:
            raise Refused(f"there is no sweep {order.verb}")
        turn, pause = getattr(self, order.verb), SECONDS[order.verb]
        until = time.monotonic() + HOUR
        found: Any = None
        while time.monotonic() < until:
            doing = asyncio.ensure_future(asyncio.wait_for(turn(), LONGEST_TURN))
            try:
                while not (await asyncio.wait([doing], timeout=BEAT))[0]:
                    activity.heartbeat(found)
            finally:
                doing.cancel()
            found = doing.result()
            if found:
                activity.logger.info("%s: %s", order.verb, found)
            for _ in range(0, pause, BEAT):
                activity.heartbeat(found)
                await asyncio.sleep(BEAT)

    async def settle_stale_operations(self) -> int:
        """Start `SettleInstance` for what operations whose run is closed or unknown have left; return how many."""
        runs, settled = RunQuestions(self.client), 0
        async with self.engine.begin() as conn:
            await operations.heal(conn)
            open_ones = await sweeps.open_runs(conn, self.settings.stale_after)
            left = await sweeps.left_half_way(conn)
        for each in open_ones:
            if not await runs.chain_is_open(each.workflow_id, each.first_execution_run_id):
                left.append(each.members)
        for members in left:
            order = SettleOrder(
                instance_ids=members.instance_ids, group_id=members.group_id, caller=_caller(members.project_id)
            )
            settled += await self._start(SettleInstance.run, order, "settle")
        return settled

    async def refresh_configurations(self) -> int:
        """Start `ReconfigureInstance` where an instance was away when its configuration group changed; return how many."""
        async with self.engine.connect() as conn:
            behind = await sweeps.behind(conn)
        started = 0
        for members in behind:
            order = ReconfigureOrder(
                instance_id=members.instance_ids[0], group_id=members.group_id, caller=_caller(members.project_id),
                refresh=True,
            )  # fmt: skip
            started += await self._start(
                ReconfigureInstance.run, order, "reconfigure, as its configuration group has changed:"
            )
        return started

    async def _start(self, runbook: Callable[..., Awaitable[Any]], order: Order, why: str) -> int:
        """Start a runbook, unless another run has the lock: it does the same, or the next turn does; return how many."""
        try:
            await self.client.start_workflow(
                runbook,
                order,
                id=lock_id(order.group),
                task_queue=RUNBOOKS,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=ClearText(f"{why} {', '.join(map(str, order.members))}"),
            )
        except WorkflowAlreadyStartedError:
            return 0
        return 1

    async def restart_missing_watches(self) -> int:
        """Start the watch of each instance that should be watched and is not; return how many."""
        async with self.engine.connect() as conn:
            ids = await sweeps.unattended(conn)
        started = 0
        for instance_id in ids:
            if not await self._is_watched(instance_id):
                started += await self._watch(instance_id)
        return started

    async def _watch(self, instance_id: UUID) -> int:
        """Start a watch, and look again: a deletion that began meanwhile ended the watch that it found, if any."""
        watches = TemporalWatches(self.client, self.engine)
        await watches.start_watch(instance_id)
        async with self.engine.connect() as conn:
            if await sweeps.stays(conn, instance_id):
                return 1
        with suppress(NotYet):
            await watches.end_watch(instance_id)
        return 0

    async def _is_watched(self, instance_id: UUID) -> bool:
        try:
            found = await self.client.get_workflow_handle(watch_id(instance_id)).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return found.close_time is None

    async def sweep_leftovers(self) -> list[str]:
        """Name what carries the tag of an instance that is gone; delete it after a grace period."""
        found = await asyncio.to_thread(self.cloud.list_tagged)
        async with self.engine.begin() as conn:
            wanted = await sweeps.wanted(conn)
            gone = [each for each in found if not wanted.keeps(each.kind, each.id, each.instance_id)]
            keys = [(each.kind, each.id, each.instance_id) for each in gone]
            ripe = await sweeps.remember_leftovers(conn, keys, self.settings.leftover_grace)
        for each in gone:
            if (each.kind, each.id) in ripe:
                await self._delete(each)
        return [f"{each.kind} {each.id} of {each.instance_id}" for each in gone]

    async def _delete(self, leftover: Leftover) -> None:
        """One that cannot be deleted now is met again at the next turn; the others must not wait for it."""
        try:
            await asyncio.to_thread(self.cloud.delete_leftover, leftover)
        except Exception as error:  # noqa: BLE001 - whatever the cloud says
            activity.logger.warning("%s %s stays for now: %s", leftover.kind, leftover.id, error)

    async def mirror_flavors(self) -> None:
        """Copy Nova's flavors and volume types into the records, so that reads need no cloud."""
        found = await asyncio.to_thread(self.cloud.list_flavors)
        types = await asyncio.to_thread(self.cloud.list_volume_types)
        async with self.engine.begin() as conn:
            await sweeps.mirror(conn, found, types)


def _caller(project_id: str) -> Caller:
    return Caller(project_id=project_id, user_id=SYSTEM, is_admin=True)
