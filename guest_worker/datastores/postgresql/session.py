"""The administrator's sessions with PostgreSQL, over its socket."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from workflows.domain.errors import EngineFailed

ADMIN = "os_admin"
HOME = "postgres"  # the database that the administrator talks from

Statement = LiteralString | sql.Composed


class Session:
    """One connection to the home database, opened when needed; short ones to others."""

    def __init__(self, folder: Path, password: Callable[[], str]) -> None:
        self._folder = folder
        self._password = password
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        """Forget the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def connect(self, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
        """Open a connection to one database; every statement is its own transaction."""
        folder = os.open(self._folder, os.O_PATH)
        try:
            return psycopg.connect(
                host=f"/proc/self/fd/{folder}",  # the whole path may be too long for a socket
                dbname=database,
                user=ADMIN,
                password=self._password(),
                autocommit=True,
                connect_timeout=5,
                application_name="guest",
            )
        finally:
            os.close(folder)

    def rows(self, statement: Statement, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Do a statement in the home database. The engine's own errors pass; a lost connection is EngineFailed."""
        with self._lock:
            for last in (False, True):
                try:
                    if self._connection is None or self._connection.closed:
                        self._connection = self.connect(HOME)
                    cursor = self._connection.execute(statement, values or None)
                    return cursor.fetchall() if cursor.description else []
                except (psycopg.OperationalError, FileNotFoundError) as error:
                    if (
                        isinstance(error, psycopg.Error)
                        and error.sqlstate
                        and not error.sqlstate.startswith(("08", "57"))
                    ):
                        raise
                    self.close()
                    if last:
                        raise EngineFailed("the database does not answer") from error
        return []

    def rows_in(self, database: str, statement: Statement) -> None:
        """Do a statement inside another database."""
        with self.connect(database) as connection:
            connection.execute(statement)

    def verifier(self, user: str, password: str) -> str:
        """What PostgreSQL keeps of a password; made here, so that no statement carries the password itself."""
        with self._lock:
            self.rows("SELECT 1")
            if self._connection is None:
                raise EngineFailed("the database does not answer")
            made = self._connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
            return made.decode()

    def answers(self) -> bool:
        """Whether a question is answered."""
        try:
            return bool(self.rows("SELECT 1"))
        except (EngineFailed, psycopg.Error, OSError):
            return False
