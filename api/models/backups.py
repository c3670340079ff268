"""Bodies that make backups, and say where they go."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, StrictFloat, StrictInt, model_validator

from api.models.base import Body, Reference, Text
from api.models.configurations import Description
from api.models.logs import Flag

_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")  # nothing that a URL or a signature would need to escape


def _container(value: str) -> str:
    if not _CONTAINER.fullmatch(value):
        raise ValueError("must be the name of a container: letters, digits, '.', '_' and '-', of which the first is neither "
                         "of the last three")  # fmt: skip
    return value


Container = Annotated[str, AfterValidator(_container)]


class RestoreFromBody(Body):
    """A backup of another region."""

    remote_location: Text
    local_datastore_version_id: Reference
    size: StrictInt | StrictFloat


class BackupBody(Body):
    """A backup to make."""

    name: Text
    description: Description | None = None
    instance: Reference | None = None
    parent_id: Reference | None = None
    incremental: Flag = False
    swift_container: Container | None = None
    storage_driver: Text | None = None
    restore_from: RestoreFromBody | None = None

    @model_validator(mode="after")
    def of_something(self) -> "BackupBody":
        """Of an instance, or from elsewhere."""
        if (self.instance is None) == (self.restore_from is None):
            raise ValueError("instance is needed, or restore_from, and not both")
        return self


class CreateBackupBody(Body):
    """`POST /backups`."""

    backup: BackupBody


class StrategyBody(Body):
    """Where backups go that name no container: of an instance, or of all of the project."""

    instance_id: Reference | None = None
    swift_container: Container

    @model_validator(mode="before")
    @classmethod
    def without_empty(cls, value: Any) -> Any:
        """Trove shows an empty id for the project's."""
        if isinstance(value, dict) and value.get("instance_id") == "":
            return {**value, "instance_id": None}
        return value


class CreateStrategyBody(Body):
    """`POST /backup_strategies`."""

    backup_strategy: StrategyBody
