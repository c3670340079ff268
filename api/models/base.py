"""What request bodies are made of: names, numbers, references, and that no member is ignored."""

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

MOST_REPLICAS = 3


def readable_name(value: str) -> str:
    """As Trove has it; control characters are refused in every text of a body, by `requests.parse`."""
    if not re.search("[0-9a-zA-Z]", value):
        raise ValueError("must contain a letter or a digit")
    return value


def _zone(value: str) -> str:
    """Nova takes `zone:host:node` for a choice of the host, which is for administrators of the cloud alone."""
    if re.search("[:/]", value):
        raise ValueError("must be the name of an availability zone, without ':' and '/'")
    return value


def whole(value: Any) -> Any:
    """A number, or a numeric string; true and 1.5 are neither."""
    if isinstance(value, bool | float) or (isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value)):
        raise ValueError("must be a whole number")
    return value


def _reference(value: Any) -> Any:
    """An id, a number, or a URL whose last segment is the id."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be an id")
    text = str(value).rstrip("/").rsplit("/", 1)[-1]
    if not text or len(text) > 255:
        raise ValueError("must be an id")
    return text


def _flavor(value: Any) -> Any:
    """A reference, or a flavor as `GET /flavors` shows it: openstacksdk can send nothing else."""
    if not isinstance(value, dict):
        return _reference(value)
    found = value.get("str_id") or value.get("id")
    if found is None:
        raise ValueError("must be an id, or an object with an id")
    return _reference(found)


Whole = Annotated[int, BeforeValidator(whole), Field(ge=1, le=2**31 - 1)]

Reference = Annotated[str, BeforeValidator(_reference), WithJsonSchema({"type": ["string", "integer"]})]

FlavorReference = Annotated[str, BeforeValidator(_flavor), WithJsonSchema({"type": ["string", "integer", "object"]})]

Text = Annotated[str, Field(min_length=1, max_length=255)]

Zone = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_zone)]


class Body(BaseModel):
    """No member is ignored: one that is unknown is refused, for whoever sent it meant something by it."""

    model_config = ConfigDict(extra="forbid")


def as_list(value: Any, plural: str, singular: str) -> Any:
    """One thing in the place of a list, or under the singular name, becomes a list; other members stay."""
    if not isinstance(value, dict) or (plural in value and singular in value):
        return value
    found = {plural if name == singular else name: each for name, each in value.items()}
    return {**found, plural: [found[plural]]} if isinstance(found.get(plural), dict) else found
