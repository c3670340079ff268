"""Bodies that make and change configuration groups."""

from typing import Annotated, Any

from pydantic import Field

from api.models.base import Body, Text
from api.models.instances import DatastoreBody

Description = Annotated[str, Field(max_length=255)]
Values = Annotated[dict[str, Any], Field(max_length=1000)]  # of a type and within bounds that depend on the version


class NewConfigurationBody(Body):
    """A configuration group."""

    name: Text
    description: Description | None = None
    values: Values
    datastore: DatastoreBody | None = None


class CreateConfigurationBody(Body):
    """`POST /configurations`."""

    configuration: NewConfigurationBody


class ConfigurationUpdate(Body):
    """What a group is to be; its datastore version stays, and may be named (gophercloud sends it)."""

    name: Text | None = None
    description: Description | None = None
    values: Values | None = None
    datastore: DatastoreBody | None = None


class ReplaceConfigurationBody(Body):
    """`PUT /configurations/{id}`: all values, so none where they are left out."""

    configuration: ConfigurationUpdate


class ConfigurationEdit(ConfigurationUpdate):
    """Values that are changed or added."""

    values: Values


class EditConfigurationBody(Body):
    """`PATCH /configurations/{id}`: the values that are named."""

    configuration: ConfigurationEdit
