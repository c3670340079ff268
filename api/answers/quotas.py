"""Ceilings of a project."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from api.answers.base import Answer


class Limits(BaseModel):
    """The project's ceilings, as `max_instances` and so on."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    verb: Literal["ABSOLUTE"]


class RateLimit(Answer):
    """How many requests of a verb the project may send a minute, and how many are left."""

    verb: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    uri: str
    regex: str
    value: int
    unit: Literal["MINUTE"]
    remaining: int
    nextAvailable: str  # noqa: N815 - Trove's name


class AllLimits(Answer):
    """The project's ceilings come first, for python-troveclient takes them from there; then its rates."""

    limits: list[Limits | RateLimit]


class Quota(Answer):
    """A project's ceiling for a resource, and what is in use of it."""

    resource: str
    in_use: int
    reserved: int
    limit: int


class Quotas(Answer):
    """A project's ceilings and use."""

    quotas: list[Quota]


class ChangedQuotas(Answer):
    """The ceilings that were set, by resource."""

    quotas: dict[str, int]
