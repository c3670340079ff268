"""Bodies for administrators."""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, field_validator

from api.models.base import Body, Text, readable_name


def _image_id(value: str) -> str:
    """Glance's id; empty: none."""
    if value:
        UUID(value)
    return value


def _nothing(value: Any) -> Any:
    """What Trove gives a version beyond its image, and nobody uses here."""
    if value not in (None, ""):
        raise ValueError("is not known here: the manager says it all; leave it out")
    return value


def _listed(value: Any) -> Any:
    """Packages may come as one text, separated by commas or spaces."""
    return [each for each in re.split(r"[,\s]+", value) if each] if isinstance(value, str) else value


Image = Annotated[str, Field(max_length=36), AfterValidator(_image_id)]
Tags = Annotated[list[Text], Field(max_length=5)]
Packages = Annotated[list[Text], Field(max_length=100)]


class VersionBody(Body):
    """What a datastore version is: its image by id, or by tags that the newest image has to have."""

    image: Image | None = None
    image_tags: Tags | None = None
    packages: Packages | None = None
    registry_ext: Any = None
    repl_strategy: Any = None
    default: StrictBool | None = None

    _check_nothing = field_validator("registry_ext", "repl_strategy")(_nothing)
    _split = field_validator("packages", mode="before")(_listed)


class NewVersionBody(VersionBody):
    """A version to add."""

    name: Text
    datastore_name: Text
    datastore_manager: Text
    active: StrictBool
    version: Text | None = None

    _check_names = field_validator("name", "datastore_name")(readable_name)


class CreateVersionBody(Body):
    """`POST /mgmt/datastore-versions`."""

    version: NewVersionBody


class ChangeVersionBody(VersionBody):
    """`PATCH /mgmt/datastore-versions/{id}`: what is to be different, without an envelope."""

    name: Text | None = None
    datastore_manager: Text | None = None
    active: StrictBool | None = None

    @field_validator("name")
    @classmethod
    def good_name(cls, value: str | None) -> str | None:
        """As in a creation."""
        return None if value is None else readable_name(value)


class ParameterBody(Body):
    """What tenants may set: bounds within those of the engine; all else is the engine's, and may be said as it is."""

    name: Text | None = None
    restart_required: StrictBool | Annotated[StrictInt, Field(ge=0, le=1)] | None = None
    data_type: Literal["boolean", "float", "integer", "string"] | None = None
    min_size: StrictInt | StrictFloat | None = None
    max_size: StrictInt | StrictFloat | None = None


class ManageParameterBody(Body):
    """`POST` and `PUT /mgmt/datastores/versions/{version}/parameters`."""

    parameter: ParameterBody = Field(alias="configuration-parameter")


class QuotasBody(Body):
    """`PUT /mgmt/quotas/{project}`; null leaves a limit as it is."""

    quotas: dict[str, int | None]

    @field_validator("quotas", mode="before")
    @classmethod
    def whole_numbers(cls, value: Any) -> Any:
        """Whole numbers from -1 alone."""
        if isinstance(value, dict):
            for name, limit in value.items():
                if limit is None:
                    continue
                if isinstance(limit, bool | float) or not re.fullmatch(r"-?[0-9]{1,9}", str(limit)) or int(limit) < -1:
                    raise ValueError(f"{name}: must be a whole number that is -1 (unlimited) or more")
        return value
