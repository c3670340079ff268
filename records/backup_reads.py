"""Reading backups and strategies."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select

from records.reads import Reader, Scope
from records.tables import backup_strategies, backups, datastore_versions, datastores

_b, _d, _s, _v = backups.c, datastores.c, backup_strategies.c, datastore_versions.c
_BACKUP = select(
    _b.id, _b.project_id, _b.instance_id, _b.name, _b.description, _b.status, _b.reason, _b.place, _b.size_bytes,
    _b.deleting, _b.created, _b.updated, _d.name.label("datastore"), _v.name.label("datastore_version"),
    _b.datastore_version_id, _v.manager, _v.number,
).select_from(
    backups.join(datastore_versions, _v.id == _b.datastore_version_id).join(datastores, _d.id == _v.datastore_id)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BackupView:
    """One backup with its datastore's names."""

    id: UUID
    project_id: str
    instance_id: UUID
    name: str
    description: str | None
    status: str
    reason: str | None
    place: dict[str, str]
    size_bytes: int | None
    deleting: bool
    created: datetime
    updated: datetime
    datastore: str
    datastore_version: str
    datastore_version_id: UUID
    manager: str
    number: str


@dataclass(frozen=True, slots=True)
class BackupFilter:
    """Which backups: of an instance, of a datastore."""

    instance_id: UUID | None = None
    datastore: str | None = None


@dataclass(frozen=True)
class BackupReader:
    """Answers the API's questions about backups."""

    reader: Reader

    async def list_backups(
        self, scope: Scope, which: BackupFilter, limit: int, offset: int
    ) -> tuple[list[BackupView], bool]:
        """Return a page, what changed last first, and whether there is more."""
        statement = _scoped(_BACKUP, scope)
        if which.instance_id is not None:
            statement = statement.where(_b.instance_id == which.instance_id)
        if which.datastore is not None:
            statement = statement.where(_d.name == which.datastore)
        ordered = statement.order_by(_b.updated.desc(), _b.id).limit(limit + 1).offset(offset)
        found = [_view(row) for row in await self.reader.ask(ordered)]
        return found[:limit], len(found) > limit

    async def get_backup(self, backup_id: UUID, scope: Scope) -> BackupView | None:
        """Return the backup of this id."""
        rows = await self.reader.ask(_scoped(_BACKUP, scope).where(_b.id == backup_id))
        return _view(rows[0]) if rows else None

    async def list_strategies(self, project_id: str, instance_id: UUID | None = None) -> list[tuple[str, str]]:
        """Return instance and container of each strategy of a project, or of one instance."""
        statement = select(_s.instance_id, _s.container).where(_s.project_id == project_id).order_by(_s.instance_id)
        if instance_id is not None:
            statement = statement.where(_s.instance_id == str(instance_id))
        return [(row.instance_id, row.container) for row in await self.reader.ask(statement)]

    async def container_for(self, project_id: str, instance_id: UUID) -> str | None:
        """Return where the backups of an instance go that name no container: its strategy's, or the project's."""
        mine = (_s.project_id == project_id, _s.instance_id.in_([str(instance_id), ""]))
        rows = await self.reader.ask(select(_s.container).where(*mine).order_by(func.length(_s.instance_id).desc()))
        return str(rows[0].container) if rows else None


def _view(row: Iterable[Any]) -> BackupView:
    """The columns are selected in the order of the view's fields."""
    return BackupView(*row)


def _scoped(statement: Select[Any], scope: Scope) -> Select[Any]:
    return statement if scope.project_id is None else statement.where(_b.project_id == scope.project_id)
