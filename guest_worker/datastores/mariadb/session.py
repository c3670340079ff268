"""The administrator's sessions with MariaDB, over its socket."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, ClassVar, cast

import pymysql
from temporalio.exceptions import ApplicationError

from contract.domain.errors import Busy, EngineFailed
from guest_worker.datastores.base import UNCHANGED
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.mariadb.connecting import OTHER_WAY, UNLOGGED_SESSION, connect

LOCK_SECONDS = 2  # for a lock of a table or a row
STATEMENT_SECONDS = 6
CLIENT_SECONDS = 8  # more than the server takes, or a statement that was given up would go on
LOGIN_SECONDS = 3  # until the socket is connected
IDLE_KEPT = 4  # what one change takes, and lists beside it
# What the tenant's root may have set for all sessions, and what bounds our statements.
SETTINGS = (
    f"{UNLOGGED_SESSION}, slow_query_log = 0, sql_mode = 'NO_ENGINE_SUBSTITUTION', autocommit = 1, tx_read_only = 0,"
    " sql_quote_show_create = 1, completion_type = 0, foreign_key_checks = 1, group_concat_max_len = 1048576,"
    f" lock_wait_timeout = {LOCK_SECONDS}, innodb_lock_wait_timeout = {LOCK_SECONDS},"
    f" max_statement_time = {STATEMENT_SECONDS}, wait_timeout = 31536000"
)
REFUSED = frozenset({1044, 1045, 1130, 1142, 1227, 1698, 1820, 1862, 4151, OTHER_WAY})
LOST = frozenset({2002, 2003, 2006, 2013})
TOO_MANY = frozenset({1040, 1203})
TIMED_OUT = frozenset({1205, 1969})
Row = tuple[Any, ...]


class EngineError(EngineFailed):
    """What the engine said; `code` is its number for it. The statement is not told: it may hold a password."""

    def __init__(self, message: str, code: int = 0) -> None:
        ApplicationError.__init__(self, message, type=EngineFailed.__name__, non_retryable=True)
        self.code = code


class AdministratorRefused(EngineError):
    """The engine answers, and does not take the administrator's password, or has taken rights from it."""


class TimedOut(EngineError):
    """The engine gave a statement up that waited for a lock or took too long; it changed nothing."""


class StatementRefused(EngineError):
    """The engine refused a statement."""


class Session:
    """Connections of the administrator. Each statement has one to itself: nobody waits for another's statement.

    MySQL's session is one of these, too; what differs is overridden.
    """

    kill: ClassVar[str] = "KILL HARD CONNECTION"
    refused: ClassVar[frozenset[int]] = REFUSED
    timed_out: ClassVar[frozenset[int]] = TIMED_OUT

    def __init__(self, socket: EngineSocket) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def keep(self) -> None:
        """Open the connections that are kept, before tenants have taken all that there are; what fails is opened later."""
        with suppress(Busy, EngineFailed), ExitStack() as held:
            for _ in range(IDLE_KEPT):
                held.enter_context(self.connection())

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def rows(self, statement: str) -> list[Row]:
        """Do a statement, once. Raises what `Connection.rows` raises."""
        with self.connection() as connection:
            return connection.rows(statement)

    def records(self, statement: str) -> list[dict[str, Any]]:
        """Rows as dictionaries."""
        with self.connection() as connection:
            return connection.records(statement)

    def one(self, statement: str) -> Row:
        """Do a statement that has one row."""
        return self.rows(statement)[0]

    def answers(self) -> bool:
        """Whether a question is answered."""
        try:
            return bool(self.rows("SELECT 1"))
        except (Busy, EngineFailed, OSError):
            return False

    @contextmanager
    def connection(self) -> Iterator["Connection"]:
        """A connection for one caller, kept for the next one unless it broke."""
        connection = self._take()
        try:
            yield connection
        finally:
            with self._lock:
                keep = connection.fresh and len(self._idle) < IDLE_KEPT
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _take(self) -> "Connection":
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if connection.lives():
                return connection
            connection.close()
        return self._open()

    def _open(self) -> "Connection":
        try:
            return Connection(self, self._log_in())
        except pymysql.err.MySQLError as error:
            if error.args and error.args[0] in TOO_MANY:
                raise Busy(f"All connections of the database are in use; {UNCHANGED}.") from error
            raise self.translated(error) from error
        except OSError as error:
            raise EngineFailed("the database does not answer") from error

    def _log_in(self) -> "pymysql.connections.Connection[Any]":
        return connect(self._socket, patience=LOGIN_SECONDS, seconds=CLIENT_SECONDS, settings=SETTINGS)

    def translated(self, error: "pymysql.err.MySQLError") -> EngineFailed:
        """The engine's words as ours."""
        code = int(error.args[0]) if error.args and isinstance(error.args[0], int) else 0
        said = str(error.args[1]) if len(error.args) > 1 else "error"
        if code in LOST:
            return EngineFailed("the database does not answer")
        if code in self.timed_out:
            return TimedOut("the database did not get to it in time", code)
        if code in self.refused:
            return AdministratorRefused(f"the database does not let its administrator do this ({code})", code)
        return StatementRefused(f"the database refused it ({code}): {said}", code)

    def cancel(self, number: int) -> None:
        """End a session, and return when the engine has none of that number."""
        connection = self._open()
        try:
            deadline = time.monotonic() + 2
            while connection.rows(f"SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {number}"):
                with suppress(StatementRefused):  # it has just ended by itself
                    connection.rows(f"{self.kill} {number}")
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
        finally:
            connection.close()


class Connection:
    """One connection; one statement at a time."""

    def __init__(self, session: Session, connection: "pymysql.connections.Connection[Any]") -> None:
        self._session = session
        self._connection = connection
        self.number = int(cast(Any, connection).thread_id())
        self.fresh = True  # nothing was set on it, and it did not break

    def close(self) -> None:
        """End it."""
        self.fresh = False
        with suppress(pymysql.err.MySQLError, OSError):
            self._connection.close()

    def lives(self) -> bool:
        """Whether the engine still knows it."""
        try:
            self._connection.ping(reconnect=False)
        except (pymysql.err.MySQLError, OSError):
            return False
        return True

    def rows(self, statement: str) -> list[Row]:
        """Do a statement, once.

        TimedOut: it was given up. AdministratorRefused, StatementRefused: the engine said no. EngineFailed: no answer;
        the statement was cancelled, unless the engine did not take that either.
        """
        return list(self._do(statement, pymysql.cursors.Cursor))

    def records(self, statement: str) -> list[dict[str, Any]]:
        """Rows as dictionaries."""
        return list(self._do(statement, pymysql.cursors.DictCursor))

    def _do(self, statement: str, kind: Any) -> Any:
        try:
            with self._connection.cursor(kind) as cursor:
                cursor.execute(statement)
                return cursor.fetchall()
        except (pymysql.err.InterfaceError, OSError) as error:
            self._give_up()
            raise EngineFailed("the database does not answer") from error
        except pymysql.err.MySQLError as error:
            if error.args and error.args[0] in LOST:
                self._give_up()
            raise self._session.translated(error) from error

    def _give_up(self) -> None:
        self.close()
        with suppress(Busy, EngineFailed):
            self._session.cancel(self.number)
