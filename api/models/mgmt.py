"""Bodies for administrators."""

import re
from typing import Any

from pydantic import (
    field_validator,
)

from api.models.base import Body


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
