"""Logs of an instance."""

from typing import Literal

from api.answers.base import Answer


class Log(Answer):
    """A log. Clients read its published part from Swift themselves; container and prefix are "None" before there is one."""

    name: str
    type: Literal["USER", "SYS"]
    status: Literal["Disabled", "Enabled", "Unavailable", "Ready", "Published", "Partial", "Rotated"]
    published: int
    pending: int
    container: str
    prefix: str
    metafile: str


class OneLog(Answer):
    """A log."""

    log: Log


class Logs(Answer):
    """The logs of an instance."""

    logs: list[Log]
