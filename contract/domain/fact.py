"""What all nouns have in common."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """A frozen, typed value that travels between processes.

    Unknown fields are ignored and new fields have defaults, so that processes of different releases understand each
    other and recorded histories can be replayed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


def is_uuid(text: str) -> bool:
    """Whether a text can be an id of OpenStack's or ours."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
