"""Configuration groups and what may be set, in the records."""

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any
from uuid import UUID

from temporalio import activity

from contract.domain.fact import Fact
from contract.domain.operation import Caller


def configuration_id(group_id: UUID, request_id: str) -> str:
    """Workflow id of one change of a configuration group."""
    return f"configuration/{group_id}/{request_id}"


class NewConfiguration(Fact):
    """A group to make; `values` as JSON has them."""

    id: UUID
    caller: Caller
    name: str
    description: str | None = None
    datastore_version_id: UUID
    values: dict[str, Any]


class ConfigurationChange(Fact):
    """What a group is to say; None leaves it as it is. `merge` keeps the values that are not named.

    Past `expires_at` it is refused, for nobody waits for the answer any more.
    """

    id: UUID
    caller: Caller
    expires_at: datetime | None = None
    name: str | None = None
    description: str | None = None
    values: dict[str, Any] | None = None
    merge: bool = False


class ConfigurationName(Fact):
    """Which group, and who asks."""

    id: UUID
    caller: Caller


class AttachedInstance(Fact):
    """An instance that has a group, and the group of instances that is its lock."""

    instance_id: UUID
    group_id: UUID


class AttachedInstances(Fact):
    """All instances that have a group."""

    instances: tuple[AttachedInstance, ...] = ()


class ConfigurationAnswer(Fact):
    """The operations that tell the instances; or which of our errors the change was refused with."""

    operations: tuple[UUID, ...] = ()
    refused: str | None = None
    reason: str = ""


class ParameterRule(Fact):
    """Within which bounds tenants may set a parameter of a version, if at all; None: within the engine's."""

    datastore_version_id: UUID
    name: str
    hidden: bool = False
    minimum: int | float | None = None
    maximum: int | float | None = None


class Configurations(ABC):
    """Groups as tenants change them. Errors: NotFound, BadRequest, and Unsupported for values that the engine does not take."""

    @abstractmethod
    @activity.defn
    async def create_configuration(self, new: NewConfiguration) -> None:
        """Make it; content where the same was made before."""

    @abstractmethod
    @activity.defn
    async def change_configuration(self, change: ConfigurationChange) -> AttachedInstances:
        """Write it down, and return who has the group: their engines do not know yet."""

    @abstractmethod
    @activity.defn
    async def delete_configuration(self, which: ConfigurationName) -> None:
        """BadRequest while an instance has it; content where it is gone."""

    @abstractmethod
    @activity.defn
    async def rule_parameter(self, rule: ParameterRule) -> None:
        """For groups that are made or changed from now on."""
