"""The shape of an engine's facts."""

from collections.abc import Callable
from enum import StrEnum

from pydantic import Field

from contract.domain.accounts import NewDatabase
from contract.domain.fact import Fact


class Facet(StrEnum):
    """What tenants ask of some engines and cannot ask of others."""

    DATABASES = "databases"
    USERS = "users"
    ROOT = "root"
    LOGS = "logs"
    TLS = "tls"


class LogKind(StrEnum):
    """Who switches a log on and off: a tenant, or nobody."""

    USER = "USER"
    SYS = "SYS"


GUEST_LOG = "guest"  # that of the guest itself, for administrators alone


class EnginePort(Fact):
    """A TCP port that an engine listens on; `inside`: for the servers of its own group alone, as for replication."""

    number: int
    inside: bool = False


class Datastore(Fact):
    """An engine as the control plane sees it.

    The checks raise ValueError with a sentence that names the field's value and what is wrong with it; they are pure, and
    the guest applies them once more.
    """

    manager: str
    ports: tuple[EnginePort, ...]
    """The first one is where its clients log in."""
    facets: frozenset[Facet] = frozenset(Facet)
    engine_logs: dict[str, LogKind] = Field(default_factory=dict)
    builtin_tls: bool = False  # whether it offers TLS by itself, with a certificate that the server makes
    needs_tls: bool = False  # whether that cannot be switched off
    hosts: bool = False  # whether users have hosts; without, a host is always `%`
    root_name: str = "root"
    reserved_users: frozenset[str] = frozenset()
    reserved_databases: frozenset[str] = frozenset()
    check_database: Callable[[NewDatabase], None] = Field(repr=False)
    check_user: Callable[[str, str], None] = Field(repr=False)  # name, host
    check_password: Callable[[str], None] = Field(repr=False)
    canonical_host: Callable[[str], str] = Field(default=str, repr=False)  # the form in which a user's host is kept
    upgrades: dict[str, tuple[str, ...]] = Field(default_factory=dict, repr=False)
    """To which other series the data of each can be taken by the engine's own means."""
    series: dict[str, "Datastore"] = Field(default_factory=dict, repr=False)  # where versions differ, by major version

    @property
    def logs(self) -> dict[str, LogKind]:
        """The engine's logs, and that of the guest."""
        return {**self.engine_logs, GUEST_LOG: LogKind.SYS}

    @property
    def port(self) -> int:
        """Where its clients log in."""
        return self.ports[0].number

    def of(self, version: str) -> "Datastore":
        """The facts of a version, like `10.11` or `10.11.6`; of the newest that is known for one that is not."""
        known = [each for each in self.series if f"{version}.".startswith(f"{each}.")]
        return self.series[max(known, key=len)] if known else self

    def known_host(self, host: str) -> str:
        """The form in which the host of a user that may be there is kept; as it is where the engine's tools made it."""
        try:
            return self.canonical_host(host)
        except ValueError:
            return host
