"""Asks PostgreSQL whether it serves, and whether the administrator's account is as it was made."""

from collections.abc import Mapping
from typing import ClassVar

import psycopg

from guest_worker.datastores import probing
from guest_worker.datastores.base import EngineState, Probe
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.postgresql.connecting import HOME, UNLOGGED, Connection, connect

# What the tenant's root may have set for our role or database; what a client says when it connects counts for more.
OPTIONS = (
    "-c role=none -c search_path= -c default_transaction_read_only=off -c session_preload_libraries= "
    f"-c local_preload_libraries= -c lock_timeout=1s -c idle_session_timeout=0 -c statement_timeout={probing.SECONDS}s "
    + " ".join(f"-c {key}={value}" for key, value in UNLOGGED.items())
)
QUESTION = (
    "SELECT coalesce(bool_or(rolsuper AND rolcanlogin), false) FROM pg_catalog.pg_roles WHERE rolname = session_user"
)
NO_SETTINGS = (  # of our role and our database, for sessions that say less than this one
    "DELETE FROM pg_catalog.pg_db_role_setting WHERE setrole = 10 OR setdatabase = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
)
TOO_MANY = "too many clients already"
LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
CANCELLED = "canceling statement due to"  # a login's
NO_SPACE = ("No space left on device", "Disk quota exceeded")
# A failed login has no SQLSTATE in libpq; the engine is started with lc_messages=C, so its words are these.
REFUSED = (
    "authentication failed", "is not permitted to log in", "pg_hba.conf", "permission denied", "does not exist",
    "is not currently accepting connections", "too many connections for", "remaining connection slots",
    "authentication method requirement",
)  # fmt: skip


class Prober(probing.Prober[Connection]):
    """PostgreSQL's."""

    errors: ClassVar[type[Exception]] = psycopg.Error

    def __init__(self, socket: EngineSocket, more: Mapping[str, str]) -> None:
        super().__init__(socket)
        self._options = " ".join((OPTIONS, *(f"-c {key}={value}" for key, value in more.items())))

    def log_in(self) -> Connection:
        """Log in."""
        return connect(
            self._socket, HOME, seconds=probing.SECONDS, application_name="guest health", options=self._options
        )

    def look(self, new: Connection) -> None:
        """A superuser, without settings."""
        self.ask(new)
        new.execute(NO_SETTINGS)

    def waits(self, error: Exception) -> bool:
        """PostgreSQL reads roles and their settings from its tables at each login."""
        return isinstance(error, psycopg.errors.ConnectionTimeout)

    def ask(self, connection: Connection) -> None:
        """Whether it is a superuser now."""
        if connection.execute(QUESTION).fetchone() != (True,):
            raise probing.RightsLost("the administrator's account is no superuser any more")

    def meaning(self, error: Exception) -> Probe:
        """By the engine's words."""
        words = " ".join(str(error).split()).rpartition("FATAL: ")[2].strip()
        if TOO_MANY in words:
            return Probe(EngineState.ANSWERS, "all connections are in use")
        if any(each in words for each in NO_SPACE):
            return Probe(EngineState.DISK_FULL, words)
        if isinstance(error, LOCKED) or CANCELLED in words:
            return Probe(EngineState.ANSWERS, "the tables of roles are locked by a session")
        told = isinstance(error, psycopg.Error) and error.sqlstate is not None
        refused = not told and any(each in words for each in REFUSED) and "No such file" not in words
        return Probe(EngineState.ADMINISTRATOR_REFUSED if refused else EngineState.SILENT, words)
