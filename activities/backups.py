"""The port `BackupRecords`, over PostgreSQL."""

from dataclasses import dataclass
from uuid import UUID

from temporalio import activity

from contract.domain.backups import BackupFacts
from contract.ports.backup_records import BackupLeft, BackupName, BackupRecords, Strategy
from records import backups
from records.engine import AsyncEngine


@dataclass(frozen=True)
class PostgresBackups(BackupRecords):
    """One transaction an activity."""

    engine: AsyncEngine

    @activity.defn
    async def begin_deletion(self, which: BackupName) -> BackupFacts:
        async with self.engine.begin() as conn:
            return await backups.begin_deletion(conn, which)

    @activity.defn
    async def forget_backup(self, backup_id: UUID) -> None:
        async with self.engine.begin() as conn:
            await backups.forget(conn, backup_id)

    @activity.defn
    async def keep_backup(self, left: BackupLeft) -> None:
        async with self.engine.begin() as conn:
            await backups.keep(conn, left)

    @activity.defn
    async def set_strategy(self, strategy: Strategy) -> None:
        async with self.engine.begin() as conn:
            await backups.set_strategy(conn, strategy)

    @activity.defn
    async def remove_strategy(self, strategy: Strategy) -> None:
        async with self.engine.begin() as conn:
            await backups.remove_strategy(conn, strategy)
