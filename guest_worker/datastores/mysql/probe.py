"""Asks MySQL whether it serves, and whether the administrator's account is as it was made."""

from typing import Any

import pymysql

from guest_worker.datastores import probing
from guest_worker.datastores.mariadb import probe
from guest_worker.datastores.mariadb.connecting import UNLOGGED_SESSION, Connection
from guest_worker.datastores.mysql.connecting import connect
from guest_worker.datastores.mysql.session import TIMED_OUT

SETTINGS = (
    f"{UNLOGGED_SESSION}, sql_mode = '', autocommit = 1, lock_wait_timeout = 1,"
    f" max_execution_time = {probing.SECONDS * 1000}"
)
NEEDED = ("SYSTEM_USER", "CONNECTION_ADMIN", "SET_ANY_DEFINER", "ALLOW_NONEXISTENT_DEFINER", "ROLE_ADMIN",
          "SYSTEM_VARIABLES_ADMIN", "SESSION_VARIABLES_ADMIN", "SHOW_ROUTINE")  # fmt: skip


class Prober(probe.Prober):
    """MySQL's."""

    refused = probe.REFUSED | {3118, 3159}

    def log_in(self) -> "Connection[Any]":
        """Log in."""
        return connect(self._socket, patience=probing.SECONDS, seconds=probing.SECONDS, settings=SETTINGS)

    def look(self, new: "Connection[Any]") -> None:
        """All rights, unless the tables that tell them are locked: whoever was let in knows that the engine serves."""
        try:
            self._look_at_rights(new)
        except pymysql.err.MySQLError as error:
            if not error.args or error.args[0] not in TIMED_OUT:
                raise

    def _look_at_rights(self, new: "Connection[Any]") -> None:
        """All of them, with the right to grant them, on all databases and without a limit."""
        ours = "User = 'os_admin' AND Host = 'localhost'"
        columns = [str(name) for name, *_ in probe.rows(new, "SHOW COLUMNS FROM mysql.user LIKE '%\\_priv'")]
        fixed = probe.rows(new, f"SELECT {', '.join(columns)} FROM mysql.user WHERE {ours}")
        less = probe.rows(
            new,
            f"SELECT 1 FROM mysql.user WHERE {ours} AND (User_attributes ->> '$.Restrictions' <> ''"
            " OR max_questions + max_updates + max_connections + max_user_connections > 0)",
        )
        given = probe.rows(new, f"SELECT PRIV FROM mysql.global_grants WHERE {ours} AND WITH_GRANT_OPTION = 'Y'")
        if less or set(*fixed) != {"Y"} or not {name for (name,) in given}.issuperset(NEEDED):
            raise probing.RightsLost("rights were taken from the administrator's account")
