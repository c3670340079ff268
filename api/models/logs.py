"""What is to be done about a log."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from api.models.base import Body, Text


def _flag(value: Any) -> bool:
    """Trove's clients send 1."""
    if isinstance(value, float) or value not in (0, 1):
        raise ValueError("must be 0 or 1")
    return bool(value)


Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"enum": [0, 1, True, False]})]


class LogBody(Body):
    """`POST /instances/{id}/log`; with no flag the log is shown."""

    name: Text
    enable: Flag = False
    disable: Flag = False
    publish: Flag = False
    discard: Flag = False

    @model_validator(mode="after")
    def not_both(self) -> Self:
        """Not both."""
        if self.enable and self.disable:
            raise ValueError(f"log '{self.name}' cannot be both enabled and disabled")
        return self
