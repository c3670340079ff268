"""The administrator's sessions with PostgreSQL, over its socket.

Lists, looks and changes have a session each, so that none waits for another. Whatever a tenant has set for a database
or a role is overruled, and every statement has limits that the engine itself keeps.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from contract.domain.errors import Busy, EngineFailed
from guest_worker.datastores.base import UNCHANGED, AdministratorRefused
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.postgresql.connecting import HOME, UNLOGGED, Connection, connect
from guest_worker.datastores.postgresql.watch import GRACE, Watch

LOGIN_SECONDS = 3.0
READ_LOGIN_SECONDS = 1.2  # of a list, which is answered within 2.5 s
WATCH_SECONDS = 0.5  # for a login, and an answer, to whoever asks who holds a lock
LOCK_SECONDS = 3.0  # how long a statement waits for a lock
READ_LOCK_SECONDS = 1.0  # how long a list waits for catalogs that somebody has locked
CALL_SECONDS = 7.0  # how long all statements of one change may take: less than its caller waits
LEAST_SECONDS = 0.2  # with less left, no further statement begins

# What a database's owner or a superuser may have set for our sessions, too; a value given at the start wins over those.
PINNED = {
    "role": "none",
    "search_path": "pg_catalog,pg_temp",
    "local_preload_libraries": "",
    "session_preload_libraries": "",
    "lock_timeout": str(int(LOCK_SECONDS * 1000)),
    "statement_timeout": str(int(CALL_SECONDS * 1000)),
    "idle_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "default_tablespace": "",
    "synchronous_commit": "on",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "session_replication_role": "origin",
    "row_security": "on",
    "client_min_messages": "warning",
    **UNLOGGED,
}
IN_TRANSACTION = {"idle_in_transaction_session_timeout": "10000"}
REFUSALS = re.compile(
    r"password authentication failed|role .* does not exist|not permitted to log in|pg_hba\.conf|no password assigned"
    r"|expired password|authentication method requirement|permission denied for database|permission denied to set parameter"
)
CANCELLED = "canceling statement due to"  # by a limit of the session, at a login too
TOO_MANY = "too many clients already"
WAITED = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected,
          psycopg.errors.ObjectInUse)  # fmt: skip

Statement = LiteralString | sql.Composed | bytes
Values = Sequence[Any] | Mapping[str, Any]


class Change:
    """Statements of one call on one connection, within the time that the call has left."""

    def __init__(self, connection: Connection, session: "Session", until: float) -> None:
        self._connection = connection
        self._session = session
        self._until = until

    def __call__(self, statement: Statement, values: Values = (), *, to_the_end: bool = False) -> list[tuple[Any, ...]]:
        """Do a statement. Busy when something held it up: the engine has cancelled it then.

        `to_the_end`: once it has its locks it is not cancelled. It goes on in the engine when we have stopped waiting for it.
        """
        left = self._until - time.monotonic()
        if left < LEAST_SECONDS:
            raise Busy(f"The database had no time for it; {UNCHANGED}.")
        self._limit(left, cancel=not to_the_end)
        patience = left - GRACE if to_the_end else left
        with Watch(self._connection, self._session.blockers, patience) as watch:
            try:
                cursor = self._connection.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
            except WAITED as error:
                raise Busy(_held_up(watch.blockers, error)) from error
            except psycopg.errors.InsufficientPrivilege as error:
                raise AdministratorRefused("the administrator's account lacks rights in the database") from error

    def _limit(self, left: float, *, cancel: bool) -> None:
        lock = int(min(self._session.lock_seconds, left) * 1000)
        form = sql.SQL(
            "SELECT pg_catalog.set_config('lock_timeout', {}, false), set_config('statement_timeout', {}, false)"
        )
        self._connection.execute(
            form.format(sql.Literal(str(lock)), sql.Literal(str(int(left * 1000) if cancel else 0)))
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        """All statements inside or none."""
        with self._connection.transaction():
            yield


def _held_up(blockers: str, error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.LockNotAvailable):  # a lock on a catalog hides its holder, too
        blockers = blockers or "another session"
    what = (
        f"The database is locked by {blockers}" if blockers else f"The database refused: {error.diag.message_primary}"
    )
    return f"{what}; {UNCHANGED}."


class Line:
    """One connection to the home database, opened when needed, for one user at a time."""

    def __init__(self, connect: Callable[[], Connection], patience: float = LOCK_SECONDS) -> None:
        self._connect = connect
        self._patience = patience
        self._lock = threading.RLock()
        self._connection: Connection | None = None

    @contextmanager
    def held(self) -> Iterator[Connection]:
        """The connection, alone. Busy when another holds it for too long."""
        if not self._lock.acquire(timeout=self._patience):
            raise Busy("Another request to the database is under way; please try again.")
        try:
            yield self._open()
        except (psycopg.OperationalError, OSError) as error:
            if self._connection is None or self._connection.closed or self._connection.broken:
                self._forget()
                raise EngineFailed("the database does not answer") from error
            raise
        finally:
            self._lock.release()

    def _open(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            try:  # the engine may have ended the session, and nothing that changes something is sent twice
                self._connection.execute("SELECT 1")
                return self._connection
            except psycopg.OperationalError:
                self._forget()
        self._connection = self._connect()
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        """Forget the connection."""
        with self._lock:
            self._forget()


class Session:
    """All that the administrator asks of the engine."""

    def __init__(self, socket: EngineSocket, more: Mapping[str, str]) -> None:
        self._socket = socket
        self._pinned = PINNED | IN_TRANSACTION | dict(more)
        self._reading = Line(self._connect_reading, READ_LOCK_SECONDS)
        self._looking = Line(self._connect_reading, READ_LOCK_SECONDS)
        self._changing = Line(lambda: self._connect(HOME))
        self._watching = Line(self._connect_watching, WATCH_SECONDS)
        self._until: float | None = None
        self.lock_seconds = LOCK_SECONDS

    def keep(self) -> None:
        """Open the connections that are kept, before tenants have taken all that there are; what fails is opened later."""
        for line in (self._reading, self._looking, self._changing, self._watching):
            with suppress(Busy, EngineFailed, psycopg.Error, OSError), line.held():
                pass

    def close(self) -> None:
        """Forget the connections."""
        for line in (self._reading, self._looking, self._changing, self._watching):
            line.close()

    def _connect_reading(self) -> Connection:
        return self._connect(HOME, READ_LOGIN_SECONDS, lock_timeout=f"{READ_LOCK_SECONDS}s")

    def _connect_watching(self) -> Connection:
        return self._log_in(HOME, WATCH_SECONDS, {"lock_timeout": "300", "statement_timeout": f"{WATCH_SECONDS}s"})

    def _connect(self, database: str, seconds: float = LOGIN_SECONDS, **settings: str) -> Connection:
        """Open a connection; every statement is its own transaction."""
        try:
            return self._log_in(database, seconds, settings)
        except psycopg.OperationalError as error:
            if REFUSALS.search(str(error)):
                raise AdministratorRefused("the administrator's account is refused by the database") from error
            if TOO_MANY in str(error):
                raise Busy(f"All connections of the database are in use; {UNCHANGED}.") from error
            if isinstance(error, psycopg.errors.ConnectionTimeout) or CANCELLED in str(error):  # catalogs are locked
                holders = self.blockers(None)
                why = (
                    f"The database is locked by {holders}" if holders else "The database lets nobody in at this moment"
                )
                raise Busy(f"{why}; {UNCHANGED}.") from error
            raise

    def _log_in(self, database: str, seconds: float, settings: dict[str, str]) -> Connection:
        options = " ".join(f"-c {key}={_escaped(value)}" for key, value in (self._pinned | settings).items())
        return connect(
            self._socket,
            database,
            seconds=seconds,
            application_name="guest",
            client_encoding=settings.get("client_encoding", "UTF8"),
            options=options,
        )

    # -- reading -----------------------------------------------------------------------------------------------------

    def rows(self, statement: Statement, values: Values = ()) -> list[tuple[Any, ...]]:
        """Ask in the home database. The engine's own errors pass; a lost connection is EngineFailed."""
        return self._rows(self._reading, statement, values)

    def look(self, statement: Statement, values: Values = ()) -> list[tuple[Any, ...]]:
        """The same for what is asked again and again, which no list must wait for."""
        return self._rows(self._looking, statement, values)

    def _rows(self, line: Line, statement: Statement, values: Values) -> list[tuple[Any, ...]]:
        with line.held() as connection:
            try:
                cursor = connection.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
            except WAITED as error:
                holders = self.blockers(None)
                raise Busy(f"The database is locked by {holders}." if holders else _held_up("", error)) from error

    def verifier(self, user: str, password: str) -> str:
        """What PostgreSQL keeps of a password; made here, so that no statement carries the password itself."""
        with self._reading.held() as connection:
            return connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()

    def blockers(self, pid: int | None) -> str:
        """Who holds the locks that a session waits for; with None, who holds locks that nobody can read beside."""
        try:
            with self._watching.held() as connection:
                rows = connection.execute(BLOCKERS, {"pid": pid}).fetchall()
        except (Busy, EngineFailed, psycopg.Error):
            return ""
        return ", ".join(str(name) for (name,) in rows)

    # -- changing ----------------------------------------------------------------------------------------------------

    @contextmanager
    def call(self, seconds: float = CALL_SECONDS, lock_seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """All changes inside share one limit of time; a call inside another one shares its limit."""
        before = self._until, self.lock_seconds
        until = time.monotonic() + seconds
        self._until = min(until, before[0]) if before[0] is not None else until
        self.lock_seconds = lock_seconds
        try:
            yield
        finally:
            self._until, self.lock_seconds = before

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Change something in the home database, or what all databases share."""
        until = self._until or time.monotonic() + CALL_SECONDS
        with self._changing.held() as connection:
            yield Change(connection, self, until)

    @contextmanager
    def inside(self, database: str) -> Iterator[Change]:
        """Change something inside a database, on a connection of its own.

        Names come from databases of other encodings, so that no text is converted: statements are ASCII, or bytes.
        """
        until = self._until or time.monotonic() + CALL_SECONDS
        if until - time.monotonic() < LEAST_SECONDS:
            raise Busy(f"The database had no time for it; {UNCHANGED}.")
        try:
            connection = self._connect(database, client_encoding="SQL_ASCII")
        except (psycopg.OperationalError, OSError) as error:
            raise EngineFailed(f"database {database} cannot be entered: {str(error).splitlines()[-1]}") from error
        with connection:
            yield Change(connection, self, until)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


# without a pid: whoever holds an exclusive lock on a catalog; it reads none itself but for names that are not known yet
BLOCKERS = """
SELECT DISTINCT CASE WHEN b.pid = 0 THEN 'a prepared transaction'
                     WHEN a.usesysid IS NULL THEN concat('a process of the engine (pid ', b.pid, ')')
                     ELSE concat('a session of user ''', pg_get_userbyid(a.usesysid), ''' (pid ', b.pid, ')') END
FROM (SELECT unnest(pg_blocking_pids(%(pid)s::int)) AS pid
      UNION SELECT l.pid FROM pg_lock_status() l WHERE %(pid)s::int IS NULL AND l.granted AND l.mode = 'AccessExclusiveLock'
      AND l.relation < 16384 AND l.pid <> pg_backend_pid()) b
LEFT JOIN pg_stat_get_activity(NULL) a ON a.pid = b.pid WHERE b.pid IS NOT NULL ORDER BY 1 LIMIT 3
"""
