"""What all nouns have in common."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Fact(BaseModel):
    """A frozen, typed value that travels between processes.

    Unknown fields are ignored and new fields have defaults, so that processes of different releases understand each
    other and recorded histories can be replayed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


def _one_line(text: object) -> object:
    return "".join(each if each.isprintable() else " " for each in text[:300]) if isinstance(text, str) else text


# what a guest says: a line of text that cannot forge anything else, and a number that every reader of JSON takes
OneLine = BeforeValidator(_one_line)
Line = Annotated[str, OneLine]
Number = Annotated[int, Field(ge=0, lt=2**53)]


def is_uuid(text: str) -> bool:
    """Whether a text can be an id of OpenStack's or ours."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
