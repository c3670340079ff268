"""What the suites ask of an engine in its own words: a dialect, and what its tables hold."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from guest_worker.datastores import client_of
from guest_worker.datastores.client import Client


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
    database: str = "app"
    release: str = ""  # by the administrator, where the end of the session does not


@dataclass(frozen=True)
class Leftover:
    """What root lays while it is enabled, to keep its power when it is disabled; `amy` and `bob` are ordinary users."""

    name: str
    lay: tuple[str, ...]
    spring: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    patience: float = 0.0  # how long what runs by itself is given
    session: str = ""  # a statement that a user has begun before root is disabled
    wait: str = ""  # asked by root before it is disabled, until there is a row


class Dialect(ABC):
    """One engine, seen by a tenant and by its administrator. A new engine fills the tables in."""

    manager: ClassVar[str]
    forgetful: ClassVar[Mapping[str, str]]  # settings that wait for no disk: a kill loses nothing, a power cut would
    memory_question: ClassVar[str]
    databases_named: ClassVar[str]  # with {} for how their names begin: how many there are
    accounts_named: ClassVar[str]
    large_table: ClassVar[tuple[str, ...]]  # makes `heap (text)`, whose rows take as much room as is said
    drop_waits_for: ClassVar[str] = ""  # the process of the engine, by its title; all of them where it is empty
    break_off: ClassVar[tuple[str, ...]] = ()  # by the administrator, while that process is frozen within a drop
    attempt: ClassVar[tuple[str, ...]]  # makes what traps call
    things: ClassVar[tuple[Thing, ...]]
    traps: ClassVar[tuple[Trap, ...]]
    holds: ClassVar[tuple[Hold, ...]]
    root_holds: ClassVar[tuple[Hold, ...]]  # by the tenant's root
    left: ClassVar[tuple[Leftover, ...]]
    powerful: ClassVar[str]  # has no row when nobody but the administrator has rights beyond tenants' databases
    believe: ClassVar[tuple[str, ...]] = ()  # has the engine believe what is written in its tables
    also_granted: ClassVar[tuple[str, ...]]  # by root, within `app`: what `amy` has already, by other grants
    clean: ClassVar[tuple[str, ...]] = ()  # removes what root left outside of databases
    work_of_root: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]]  # made by root, then used by an ordinary user
    harm: ClassVar[Mapping[str, Sequence[str]]]  # what root does to the administrator's account
    harmless: ClassVar[Mapping[str, Sequence[str]]]  # what root sets for everybody

    @cached_property
    def client(self) -> Client:
        """What a tenant connects with."""
        return client_of(self.manager)

    @property
    def refused(self) -> tuple[type[Exception], ...]:
        """What is raised when the engine says no."""
        return self.client.refused

    def connect(self, address: str, user: str, password: str, database: str) -> Any:
        """A tenant's connection in autocommit."""
        return self.client.connect(address, user, password, database)

    def ask(self, connection: Any, question: str) -> list[tuple[Any, ...]]:
        """Rows of an answer."""
        return self.client.ask(connection, question)

    @abstractmethod
    def administer(self, data: Path, password: str, database: str = "") -> Any:
        """The administrator's connection, to see what is true."""

    @abstractmethod
    def owned_by_administrator(self, connection: Any) -> list[str]:
        """What a tenant could have made and is the administrator's, in the database of an administrator's connection."""

    @abstractmethod
    def powers(self, connection: Any, user: str) -> list[str]:
        """Rights of a user that reach beyond databases, asked on an administrator's connection."""
