"""Configuration groups: named settings of an engine that instances of one datastore version can have."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from contract.domain.fact import Fact


class ConfigurationGroup(Fact):
    """A group as it was read; `settings` are text, as the engine reads them. `updated`: when they were written."""

    id: UUID
    settings: dict[str, str] = Field(default_factory=dict)
    updated: datetime | None = None


class Attachment(Fact):
    """Which group an instance has from now on, or none."""

    configuration_id: UUID | None = None
