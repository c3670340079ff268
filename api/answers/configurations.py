"""Configuration groups, and what may be set in them."""

from typing import Any

from pydantic import Field

from api.answers.base import Answer, Moment, Page


class Configuration(Answer):
    """A configuration group in a list."""

    id: str
    name: str
    description: str | None
    created: Moment
    updated: Moment
    datastore_version_id: str
    datastore_name: str
    datastore_version_name: str


class ConfigurationDetail(Configuration):
    """A configuration group alone; values of parameters whose names speak of passwords are not told."""

    values: dict[str, Any]
    instance_count: int
    datastore_version_number: str


class ConfigurationsPage(Page):
    """A page of configuration groups."""

    configurations: list[Configuration]
    configurations_links: list[Any] = []


class OneConfiguration(Answer):
    """A configuration group."""

    configuration: ConfigurationDetail


class InstanceName(Answer):
    """An instance that has a group."""

    id: str
    name: str


class InstancesWithPage(Page):
    """A page of the instances that have a group."""

    instances: list[InstanceName]
    instances_links: list[Any] = []


class Settings(Answer):
    """Names and values, as the engine reads them."""

    configuration: dict[str, str]


class DefaultConfiguration(Answer):
    """What an instance's database is configured with where no group says otherwise."""

    instance: Settings


class Parameter(Answer):
    """What may be set of a datastore version. `choices` are all words that a text may be; numbers are in `unit`."""

    name: str
    datastore_version_id: str
    restart_required: bool
    type: str
    min: float | int | None = None
    max: float | int | None = None
    choices: list[str] = []
    unit: str = ""


class ManagedParameter(Answer):
    """The same as administrators see it."""

    name: str
    datastore_version_id: str
    restart_required: bool
    type: str
    min_size: float | int | None = None
    max_size: float | int | None = None


class ManagedParameters(Answer):
    """All that tenants may set of a datastore version."""

    configuration_parameters: list[ManagedParameter] = Field(alias="configuration-parameters")


class Parameters(Answer):
    """All that may be set of a datastore version."""

    configuration_parameters: list[Parameter] = Field(alias="configuration-parameters")
