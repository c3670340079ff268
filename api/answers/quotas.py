"""Ceilings of a project."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from api.answers.base import Answer


class Limits(BaseModel):
    """The project's ceilings, as `max_instances` and so on."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    verb: Literal["ABSOLUTE"]


class AllLimits(Answer):
    """The project's ceilings."""

    limits: list[Limits]


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
