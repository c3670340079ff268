"""What actions of an instance are given."""

from typing import Any

from pydantic import Field, model_validator

from api.models.base import Body, FlavorReference


class ResizeAction(Body):
    """What the action `resize` is given: another flavor, or a larger volume."""

    flavor_ref: FlavorReference | None = Field(default=None, alias="flavorRef")
    volume: Any = None

    @model_validator(mode="after")
    def one(self) -> "ResizeAction":
        """Exactly one of them."""
        if len(self.model_fields_set) != 1 or (self.flavor_ref is None and self.volume is None):
            raise ValueError("needs either flavorRef or volume")
        return self


class Nothing(Body):
    """An action that is told no more than its name."""


class ResetStatusAction(Body):
    """With `force_delete`, whatever its value, the owner may send it, too (python-troveclient does, before a deletion)."""

    force_delete: Any = None
