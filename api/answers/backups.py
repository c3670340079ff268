"""Backups and strategies."""

from typing import Any

from api.answers.base import Answer, Moment, Page


class BackupDatastore(Answer):
    """Of which engine a backup is."""

    type: str
    version: str
    version_id: str


class Backup(Answer):
    """A backup; `size` in GiB is what a volume needs at least, `locationRef` the URL of its manifest.

    `reason`: why it is no good one.
    """

    id: str
    name: str
    description: str | None
    instance_id: str
    project_id: str
    parent_id: str | None
    status: str
    reason: str | None
    size: float | None
    locationRef: str | None  # noqa: N815 - Trove's name
    created: Moment
    updated: Moment
    datastore: BackupDatastore


class BackupsPage(Page):
    """A page of backups."""

    backups: list[Backup]
    backups_links: list[Any] = []


class OneBackup(Answer):
    """A backup."""

    backup: Backup


class Strategy(Answer):
    """Where backups go that name no container; without an instance, those of the project."""

    project_id: str
    instance_id: str
    backend: str
    swift_container: str


class Strategies(Answer):
    """The strategies of a project."""

    backup_strategies: list[Strategy]


class OneStrategy(Answer):
    """A strategy."""

    backup_strategy: Strategy
