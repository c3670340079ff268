"""Asks PostgreSQL whether it serves, and whether the administrator's account is as it was made."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from guest_worker.datastores.base import EngineState, Probe

SECONDS = 5  # for a login or an answer
LOGIN_EVERY = 10.0  # seconds: a session that is open keeps working when its account is changed
# What the tenant's root may have set for our role or database; what a client says when it connects counts for more.
OPTIONS = (
    "-c role=none -c search_path= -c default_transaction_read_only=off -c session_preload_libraries= "
    f"-c local_preload_libraries= -c lock_timeout=0 -c idle_session_timeout=0 -c statement_timeout={SECONDS}s"
)
QUESTION = (
    "SELECT coalesce(bool_or(rolsuper AND rolcanlogin), false) FROM pg_catalog.pg_roles WHERE rolname = session_user"
)
NO_SETTINGS = (  # of our role and our database, for sessions that say less than this one
    "DELETE FROM pg_catalog.pg_db_role_setting WHERE setrole = 10 OR setdatabase = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
)
TOO_MANY = "too many clients already"
NO_SPACE = ("No space left on device", "Disk quota exceeded")
# A failed login has no SQLSTATE in libpq; the engine is started with lc_messages=C, so its words are these.
REFUSED = (
    "authentication failed", "is not permitted to log in", "pg_hba.conf", "permission denied", "does not exist",
    "is not currently accepting connections", "too many connections for", "remaining connection slots",
)  # fmt: skip


class RightsLost(Exception):
    """The administrator logs in, but is no superuser any more."""


class Prober:
    """One connection for this question alone, so that no lock or limit of other sessions of ours keeps it waiting."""

    def __init__(self, folder: Path, user: str, password: Callable[[], str], database: str) -> None:
        self._folder = folder
        self._user = user
        self._password = password
        self._database = database
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
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
                self._ask()
                return Probe(EngineState.ANSWERS)
            except RightsLost as error:
                self._drop()
                return Probe(EngineState.ADMINISTRATOR_REFUSED, str(error))
            except psycopg.Error as error:
                self._drop()
                return _meaning(error)
            except OSError as error:
                self._drop()
                return Probe(EngineState.SILENT, str(error.strerror or error))

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._login_at = None, 0.0

    def _ask(self) -> None:
        if self._connection is not None and self._connection.execute(QUESTION).fetchone() != (True,):
            raise RightsLost("the administrator's account is no superuser any more")

    def _log_in(self) -> None:
        try:
            new = self._open()
        except psycopg.OperationalError as error:
            if TOO_MANY in str(error) and self._connection is not None:
                return  # the session that is open says whether the engine serves
            raise
        self._drop()
        self._connection, self._login_at = new, time.monotonic() + LOGIN_EVERY
        self._ask()
        new.execute(NO_SETTINGS)

    def _open(self) -> "psycopg.Connection[tuple[Any, ...]]":
        folder = os.open(self._folder, os.O_PATH)
        try:
            return psycopg.connect(
                host=f"/proc/self/fd/{folder}",  # the whole path may be too long for a socket
                dbname=self._database,
                user=self._user,
                password=self._password(),
                autocommit=True,
                connect_timeout=SECONDS,
                application_name="guest health",
                options=OPTIONS,
            )
        finally:
            os.close(folder)


def _meaning(error: psycopg.Error) -> Probe:
    words = " ".join(str(error).split()).rpartition("FATAL: ")[2].strip()
    if TOO_MANY in words:
        return Probe(EngineState.ANSWERS, "all connections are in use")
    if any(each in words for each in NO_SPACE):
        return Probe(EngineState.DISK_FULL, words)
    refused = error.sqlstate is None and any(each in words for each in REFUSED) and "No such file" not in words
    return Probe(EngineState.ADMINISTRATOR_REFUSED if refused else EngineState.SILENT, words)
