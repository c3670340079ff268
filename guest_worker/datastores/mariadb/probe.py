"""Asks MariaDB whether it serves, and whether the administrator's account is as it was made."""

from typing import Any, ClassVar

import pymysql

from guest_worker.datastores import probing
from guest_worker.datastores.base import EngineState, Probe
from guest_worker.datastores.mariadb.connecting import OTHER_WAY, UNLOGGED_SESSION, Connection, connect

REFUSED = frozenset({
    1044, 1045, 1130, 1131, 1132, 1142, 1203, 1226, 1227, 1449, 1524, 1698, 1820, 1862, 4150, 4151, OTHER_WAY
})  # fmt: skip
TOO_MANY = 1040
DISK_FULL = frozenset({3, 1021, 1114})
SETTINGS = (
    f"{UNLOGGED_SESSION}, slow_query_log = 0, sql_mode = '', autocommit = 1, max_statement_time = {probing.SECONDS}"
)
ALL = "GRANT ALL PRIVILEGES ON *.* TO "


class Prober(probing.Prober["Connection[Any]"]):
    """MariaDB's."""

    errors: ClassVar[type[Exception]] = pymysql.err.MySQLError
    refused: ClassVar[frozenset[int]] = REFUSED

    def log_in(self) -> "Connection[Any]":
        """Log in."""
        return connect(self._socket, patience=probing.SECONDS, seconds=probing.SECONDS, settings=SETTINGS)

    def look(self, new: "Connection[Any]") -> None:
        """All rights, with the right to grant them."""
        first = str(rows(new, "SHOW GRANTS FOR CURRENT_USER()")[0][0])
        if not (first.startswith(ALL) and first.endswith("WITH GRANT OPTION")):
            raise probing.RightsLost("rights were taken from the administrator's account")

    def ask(self, connection: "Connection[Any]") -> None:
        """Anything."""
        rows(connection, "SELECT 1")

    def meaning(self, error: Exception) -> Probe:
        """By the error's number."""
        code = error.args[0] if error.args else 0
        words = str(error.args[-1]) if error.args else ""
        if code == TOO_MANY:
            return Probe(EngineState.ANSWERS, "all connections are in use")
        if code in self.refused:
            return Probe(EngineState.ADMINISTRATOR_REFUSED, words)
        return Probe(EngineState.DISK_FULL if code in DISK_FULL else EngineState.SILENT, words)


def rows(connection: "Connection[Any]", statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
