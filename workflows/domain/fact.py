"""What all nouns have in common."""

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """A frozen, typed value that travels between processes.

    Unknown fields are ignored and new fields have defaults, so that processes of different releases understand each
    other and recorded histories can be replayed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
