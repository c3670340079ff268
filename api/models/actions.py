"""What actions of an instance are given."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from api.models.base import Body, FlavorReference, Text, Whole
from api.models.instances import ModuleReference


class NewSize(Body):
    """The size that a volume is to have, in GiB."""

    size: Whole


def _new_size(value: Any) -> Any:
    """openstacksdk sends the number alone."""
    return {"size": value} if isinstance(value, int | str) else value


class ResizeAction(Body):
    """What the action `resize` is given: another flavor, or a larger volume."""

    flavor_ref: FlavorReference | None = Field(default=None, alias="flavorRef")
    volume: Annotated[
        NewSize | None, BeforeValidator(_new_size), WithJsonSchema({"type": ["object", "integer", "string", "null"]})
    ] = None

    @model_validator(mode="after")
    def one(self) -> "ResizeAction":
        """Exactly one of them."""
        if len(self.model_fields_set) != 1 or (self.flavor_ref is None and self.volume is None):
            raise ValueError("needs either flavorRef or volume")
        return self


class MigrateAction(Body):
    """What the action `migrate` is given: a host, or none, and Nova chooses."""

    host: Text | None = None


class ApplyModulesBody(Body):
    """`POST /instances/{id}/modules`."""

    modules: list[ModuleReference] = Field(max_length=100)


class RebuildAction(Body):
    """The image that a server is to be on, by id."""

    image_id: UUID


class Nothing(Body):
    """An action that is told no more than its name."""


class ResetStatusAction(Body):
    """With `force_delete`, whatever its value, the owner may send it, too (python-troveclient does, before a deletion)."""

    force_delete: Any = None
