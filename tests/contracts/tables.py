"""What the tables of a dialect hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """Something that a user makes in a database, and what another user who was granted that database must be able to do."""

    name: str
    make: tuple[str, ...]
    use: tuple[str, ...]
    change: tuple[str, ...]  # alter it, then drop it


@dataclass(frozen=True)
class Trap:
    """Statements of a tenant's user which are meant to run with more rights when the administrator passes by.

    Each ends in calling `attempt` of the dialect, which tries to make the user `amy` an administrator.
    """

    name: str
    lay: tuple[str, ...]
    by_root: bool = False  # laid while root was enabled
    spring: tuple[str, ...] = ()  # what the users do themselves after each verb; the engine may refuse it


@dataclass(frozen=True)
class Hold:
    """A session that holds locks: who, where, and by which statements, in a transaction that stays open."""

    name: str
    statements: tuple[str, ...]
    by_root: bool = False
    database: str = "app"
