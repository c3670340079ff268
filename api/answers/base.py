"""What answers are made of, and what the service says of itself."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Moment = str | None  # UTC, as 2026-01-31T12:00:00


class Answer(BaseModel):
    """No member comes without being told here. One with a default may be left out."""

    model_config = ConfigDict(extra="forbid")


class FaultBody(Answer):
    """What went wrong, as a sentence that the caller can act on."""

    code: int
    message: str
    details: str = Field(default="", description="of a request too many")
    retryAfter: str = Field(default="", description="seconds, of a request too many")  # noqa: N815 - Trove's name


class Link(Answer):
    """Where something else is found."""

    rel: Literal["self", "bookmark", "next"]
    href: str


class ApiVersion(Answer):
    """A version of the API."""

    id: str
    status: str
    updated: str
    links: list[Link]


PART = Literal["ok", "away"]


class Health(Answer):
    """Each part of the service."""

    status: Literal["ok", "unavailable"]
    records: PART
    temporal: PART
    workflow_worker: PART
    activity_worker: PART
    keystone: PART
    gateway: PART = "ok"


class Versions(Answer):
    """The versions of the API."""

    versions: list[ApiVersion]


class OneVersion(Answer):
    """This version of the API."""

    version: ApiVersion


class Page(Answer):
    """Where the next page is, under both names that clients look for; without them it is the last one."""

    links: list[Link] = []
