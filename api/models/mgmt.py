"""Bodies for administrators."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, field_validator

from api.models.base import Body, Text


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
