"""What is so of an instance after all that was answered with a success, as its owner believes it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Model:
    """One instance. `app` and its user `amy` are there from its order on; the table `written` in `app` has `rows`."""

    id: str
    datastore: str
    address: str
    version: str
    image: str  # its id in Glance
    groups: dict[str, int]  # configuration groups of its datastore, and which max_connections they set
    databases: set[str] = field(default_factory=lambda: {"app"})
    users: dict[str, set[str]] = field(default_factory=lambda: {"amy": {"app"}})  # and the databases of each
    rows: list[int] = field(default_factory=list)
    flavor: str = "1"
    volume: int = 1
    public: bool = False
    cidrs: list[str] = field(default_factory=list)
    group: str | None = None
    tls: str | None = None
    stopped: bool = False
    deleted: bool = False

    @property
    def path(self) -> str:
        """Below the project."""
        return f"/instances/{self.id}"


def password_of(user: str) -> str:
    """The password that a user of this name is made with."""
    return f"secret-of-{user}"


@dataclass(frozen=True)
class Asked:
    """A request, what it is about, and what is so when it was answered with a success.

    Of two requests about the same part of an instance nobody knows which is done first: a round has one of each part.
    `operations` is how many a success admits: one, none, or either of both.
    """

    method: str
    path: str
    body: Any
    parts: frozenset[str]
    then: Callable[[], None]
    operations: frozenset[int] = frozenset({0})
    by_administrator: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.body or ''}"
