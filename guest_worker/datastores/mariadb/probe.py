"""Asks MariaDB whether it serves, and whether the administrator's account is as it was made."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql

from guest_worker.datastores.base import EngineState, Probe

SECONDS = 5  # for a login or an answer
LOGIN_EVERY = 10.0  # seconds: a session that is open keeps working when its account is dropped
REFUSED = frozenset({1044, 1045, 1130, 1131, 1132, 1142, 1203, 1226, 1227, 1449, 1524, 1698, 1820, 1862, 4150, 4151})
TOO_MANY = 1040
DISK_FULL = frozenset({3, 1021, 1114})
SETTINGS = f"SET SESSION sql_mode = '', max_statement_time = {SECONDS}"
ALL = "GRANT ALL PRIVILEGES ON *.* TO "

Connection = pymysql.connections.Connection


class RightsLost(Exception):
    """The administrator logs in, but no longer has all rights."""


class Prober:
    """One connection for this question alone, so that no lock or limit of other sessions of ours keeps it waiting."""

    def __init__(self, folder: Path, user: str, password: Callable[[], str]) -> None:
        self._folder = folder
        self._user = user
        self._password = password
        self._lock = threading.Lock()
        self._connection: Connection[Any] | None = None
        self._login_at = 0.0

    def close(self) -> None:
        """Forget the connection."""
        with self._lock:
            self._drop()

    def probe(self) -> Probe:
        """Ask; never raises."""
        with self._lock:
            try:
                if time.monotonic() >= self._login_at:
                    self._log_in()
                if self._connection is not None:
                    _rows(self._connection, "SELECT 1")
                return Probe(EngineState.ANSWERS)
            except RightsLost as error:
                self._drop()
                return Probe(EngineState.ADMINISTRATOR_REFUSED, str(error))
            except pymysql.err.MySQLError as error:
                self._drop()
                return _meaning(error)
            except OSError as error:
                self._drop()
                return Probe(EngineState.SILENT, str(error.strerror or error))

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._login_at = None, 0.0

    def _log_in(self) -> None:
        try:
            new = self._open()
        except pymysql.err.OperationalError as error:
            if error.args[0] == TOO_MANY and self._connection is not None:
                return  # the session that is open says whether the engine serves
            raise
        self._drop()
        self._connection, self._login_at = new, time.monotonic() + LOGIN_EVERY
        first = str(_rows(new, "SHOW GRANTS FOR CURRENT_USER()")[0][0])
        if not (first.startswith(ALL) and first.endswith("WITH GRANT OPTION")):
            raise RightsLost("rights were taken from the administrator's account")

    def _open(self) -> "Connection[Any]":
        folder = os.open(self._folder, os.O_PATH)
        try:
            return pymysql.connect(
                unix_socket=f"/proc/self/fd/{folder}/mariadb.sock",
                user=self._user,
                password=self._password(),
                autocommit=True,
                connect_timeout=SECONDS,
                read_timeout=SECONDS,
                write_timeout=SECONDS,
                charset="utf8mb4",
                init_command=SETTINGS,
            )
        finally:
            os.close(folder)


def _rows(connection: "Connection[Any]", statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _meaning(error: pymysql.err.MySQLError) -> Probe:
    code = error.args[0] if error.args else 0
    words = str(error.args[-1]) if error.args else ""
    if code == TOO_MANY:
        return Probe(EngineState.ANSWERS, "all connections are in use")
    if code in REFUSED:
        return Probe(EngineState.ADMINISTRATOR_REFUSED, words)
    return Probe(EngineState.DISK_FULL if code in DISK_FULL else EngineState.SILENT, words)
