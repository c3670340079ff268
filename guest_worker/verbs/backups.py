"""The port `Backups`: each verb is a job, a process of its own."""

import asyncio

from temporalio import activity

from contract.domain.errors import EngineFailed
from contract.ports.backups import BackupOrder, BackupReport, Backups, RestoreOrder
from contract.ports.guest import GuestInfo
from guest_worker.jobs import JobState
from guest_worker.services import Services


class EngineBackups(Backups):
    """Named by operation, so that whoever asks again in the same one follows the same job."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    async def back_up(self, order: BackupOrder) -> BackupReport:
        name = f"back-up-{order.backup_id}"
        try:
            return await self._services.do_long(name, "back_up", order, BackupReport)
        finally:
            if self._services.jobs.state(name) in (JobState.FAILED, JobState.SUCCEEDED):
                await asyncio.to_thread(self._tidy)  # it may have died itself

    def _tidy(self) -> None:
        backup = self._services.datastore.backup
        if backup is not None:
            backup.tidy()

    @activity.defn
    async def restore_data(self, order: RestoreOrder) -> GuestInfo:
        if self._services.supervisor.wanted:
            raise EngineFailed("the database runs: nothing was restored")
        return await self._services.do_long(f"restore-data-{order.fence}", "restore_data", order, GuestInfo)
