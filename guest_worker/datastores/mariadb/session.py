"""The administrator's session with MariaDB, over its socket."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pymysql

from workflows.domain.errors import EngineFailed

ADMIN = "os_admin"


class Session:
    """One connection, opened when needed and again when it broke; one question at a time."""

    def __init__(self, folder: Path, password: Callable[[], str]) -> None:
        self._folder = folder
        self._password = password
        self._lock = threading.RLock()
        self._connection: pymysql.connections.Connection[Any] | None = None

    def close(self) -> None:
        """Forget the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> "pymysql.connections.Connection[Any]":
        if self._connection is None:
            folder = os.open(self._folder, os.O_PATH)
            try:
                self._connection = pymysql.connect(
                    unix_socket=f"/proc/self/fd/{folder}/mariadb.sock",
                    user=ADMIN,
                    password=self._password(),
                    autocommit=True,
                    connect_timeout=5,
                    read_timeout=30,
                    charset="utf8mb4",
                )
            finally:
                os.close(folder)
        return self._connection

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Do a statement; values are quoted by the driver. The engine's own errors pass; a lost connection is EngineFailed."""
        with self._lock:
            for last in (False, True):
                try:
                    with self._open().cursor() as cursor:
                        cursor.execute(statement, values or None)
                        return list(cursor.fetchall())
                except (pymysql.err.InterfaceError, FileNotFoundError, ConnectionError) as error:
                    self.close()
                    if last:
                        raise EngineFailed("the database does not answer") from error
                except pymysql.err.OperationalError as error:
                    if error.args[0] not in (2003, 2006, 2013):
                        raise
                    self.close()
                    if last:
                        raise EngineFailed("the database does not answer") from error
        return []

    def one(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Do a statement that has one row."""
        return self.rows(statement, values)[0]

    def answers(self) -> bool:
        """Whether a question is answered."""
        try:
            return bool(self.rows("SELECT 1"))
        except (EngineFailed, pymysql.err.MySQLError, OSError):
            return False
