"""Lists that are empty so far."""

from typing import Any

from pydantic import Field

from api.answers.base import Answer


class Clusters(Answer):
    """None yet."""

    clusters: list[Any] = Field(max_length=0)


class Modules(Answer):
    """None yet."""

    modules: list[Any] = Field(max_length=0)
