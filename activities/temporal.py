"""The ports `Watches` and `Sweeps`: what must be started, ended or put right beside the runs themselves."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.openstack.leftovers import Leftover, Leftovers
from activities.records import RunQuestions
from activities.settings import ActivitySettings
from records.tables import flavors, instances, leftovers, operations, volume_types
from workflows.domain.errors import NotYet
from workflows.domain.operation import Caller, SettleOrder
from workflows.instance.settle import SettleInstance
from workflows.instance.watch import WatchInstance, WatchOrder
from workflows.names import RUNBOOKS, lock_id, watch_id
from workflows.ports.records import Sweeps, Watches

SYSTEM = "coffer"  # the caller of what nobody asked for


@dataclass(frozen=True)
class TemporalWatches(Watches):
    """Watches as runs of their own, one per instance."""

    client: Client

    @activity.defn
    async def start_watch(self, instance_id: UUID) -> None:
        await self.client.start_workflow(
            WatchInstance.run,
            WatchOrder(instance_id=instance_id),
            id=watch_id(instance_id),
            task_queue=RUNBOOKS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"watch {instance_id}",
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


@dataclass(frozen=True)
class ScheduledSweeps(Sweeps):
    """Compares the records with Temporal and with OpenStack."""

    engine: AsyncEngine
    client: Client
    cloud: Leftovers
    settings: ActivitySettings

    @activity.defn
    async def settle_stale_operations(self) -> int:
        o = operations.c
        age = func.clock_timestamp() - timedelta(seconds=self.settings.stale_after)
        statement = select(o.instance_id, o.group_id, o.project_id, o.workflow_id, o.first_execution_run_id).where(
            o.state == "RUNNING", o.created < age
        )
        runs, settled = RunQuestions(self.client), 0
        async with self.engine.connect() as conn:
            open_ones = (await conn.execute(statement)).all()
        for row in open_ones:
            if not await runs.chain_is_open(row.workflow_id, row.first_execution_run_id):
                settled += await self._settle(row.instance_id, row.group_id, row.project_id)
        return settled

    async def _settle(self, instance_id: UUID, group_id: UUID, project_id: str) -> int:
        caller = Caller(project_id=project_id, user_id=SYSTEM, is_admin=True)
        order = SettleOrder(instance_id=instance_id, group_id=group_id, caller=caller)
        try:
            await self.client.start_workflow(
                SettleInstance.run,
                order,
                id=lock_id(group_id),
                task_queue=RUNBOOKS,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=f"settle {instance_id}",
            )
        except WorkflowAlreadyStartedError:  # whoever has the lock closes the stale operation in its admission
            return 0
        return 1

    @activity.defn
    async def restart_missing_watches(self) -> int:
        statement = select(instances.c.id).where(~instances.c.deleted, instances.c.status == "ACTIVE")
        async with self.engine.connect() as conn:
            ids = list((await conn.execute(statement)).scalars())
        watches, started = TemporalWatches(self.client), 0
        for instance_id in ids:
            if not await self._is_watched(instance_id):
                await watches.start_watch(instance_id)
                started += 1
        return started

    async def _is_watched(self, instance_id: UUID) -> bool:
        try:
            found = await self.client.get_workflow_handle(watch_id(instance_id)).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return found.close_time is None

    @activity.defn
    async def sweep_leftovers(self) -> list[str]:
        found = await asyncio.to_thread(self.cloud.list_tagged)
        async with self.engine.begin() as conn:
            wanted = await self._wanted(conn)
            gone = [each for each in found if not wanted(each)]
            await self._remember(conn, gone)
            old = await self._old(conn)
        ripe = [each for each in gone if (each.kind, each.id) in old]
        for each in ripe:
            await asyncio.to_thread(self.cloud.delete_leftover, each)
        return [f"{each.kind} {each.id} of {each.instance_id}" for each in gone]

    async def _wanted(self, conn: AsyncConnection) -> Callable[[Leftover], bool]:
        """What must stay: all of an instance that is being worked on, and of others what the records name."""
        i, o = instances.c, operations.c
        rows = (await conn.execute(select(i.id, i.server_id, i.volume_id, i.port_id).where(~i.deleted))).all()
        busy = {str(each) for each in (await conn.execute(
            select(o.instance_id).where(o.state == "RUNNING"))).scalars()}  # fmt: skip
        named = {"server": 1, "volume": 2, "port": 3}
        known = {str(row.id): row for row in rows}

        def stays(each: Leftover) -> bool:
            row = known.get(each.instance_id)
            if each.instance_id in busy:
                return True
            if row is None or row.server_id is None:
                return False
            return each.kind not in named or row[named[each.kind]] == each.id

        return stays

    async def _remember(self, conn: AsyncConnection, gone: list[Leftover]) -> None:
        keys = [(each.kind, each.id) for each in gone]
        for row in (await conn.execute(select(leftovers.c.kind, leftovers.c.id))).all():
            if (row.kind, row.id) not in keys:
                where = (leftovers.c.kind == row.kind, leftovers.c.id == row.id)
                await conn.execute(delete(leftovers).where(*where))
        for each in gone:
            values = {"kind": each.kind, "id": each.id, "instance_id": each.instance_id}
            await conn.execute(upsert(leftovers).values(values).on_conflict_do_nothing())

    async def _old(self, conn: AsyncConnection) -> set[tuple[str, str]]:
        age = func.clock_timestamp() - timedelta(seconds=self.settings.leftover_grace)
        statement = select(leftovers.c.kind, leftovers.c.id).where(leftovers.c.first_seen <= age)
        return {(row.kind, row.id) for row in (await conn.execute(statement)).all()}

    @activity.defn
    async def mirror_flavors(self) -> int:
        found = await asyncio.to_thread(self.cloud.list_flavors)
        types = await asyncio.to_thread(self.cloud.list_volume_types)
        async with self.engine.begin() as conn:
            for table, rows in ((flavors, found), (volume_types, types)):
                await conn.execute(delete(table))
                if rows:
                    await conn.execute(table.insert(), rows)
        return len(found)
