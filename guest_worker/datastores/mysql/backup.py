"""Backups of MySQL by its clone plugin: a copy beside the data directory, which is then read as one archive."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql

from contract.domain.errors import EngineFailed, Unsupported
from guest_worker import host
from guest_worker.datastores.backup import EngineBackup, Tool, extracting
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.mariadb.connecting import Connection
from guest_worker.datastores.mariadb.session import LOGIN_SECONDS
from guest_worker.datastores.mysql.connecting import connect
from guest_worker.datastores.mysql.session import SETTINGS
from guest_worker.datastores.room import require_room

COPY_SECONDS = 7 * 86400.0  # that the statement may take which copies
ALREADY_INSTALLED = 1125
NOT_COPIED = (
    "SELECT table_schema, table_name, engine FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
    " AND engine NOT IN ('InnoDB', 'MEMORY', 'BLACKHOLE', 'PERFORMANCE_SCHEMA')"
    " AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
)
NO_PLUGIN = "DELETE FROM mysql.plugin WHERE name = 'clone';\n"
LEFT = ("first.sql", "mysql.sock", "mysql.sock.lock", "mysqld.pid")


class MySQLBackup(EngineBackup):
    """CLONE LOCAL: it copies while the engine runs, and needs as much room as there is data."""

    def __init__(
        self, context: EngineContext, manager: str, socket: EngineSocket, alone: Callable[[Path, str], Sequence[str]]
    ) -> None:
        """`alone`: the command that does the statements of a file on a data directory, with nobody let in, and ends."""
        super().__init__(context, manager)
        self._socket = socket
        self._alone = alone
        self._copy = context.data / f"{manager}.copy"

    @contextmanager
    def copying(self, since: str) -> Iterator[Tool]:
        """The copy is there for as long as it is read."""
        self.tidy()
        what = "the copy that a backup is made of"
        require_room(self.folder.parent, self.size(), what, "resize the volume first")
        try:
            self._clone()
            yield Tool([host.find_program("tar"), "--create", f"--directory={self._copy}", "--file=-", "."])
        finally:
            self.tidy()

    def tidy(self) -> None:
        """Remove the copy."""
        if self._copy.exists():
            self.do([host.find_program("rm"), "-rf", "--", str(self._copy)])

    def _clone(self) -> None:
        try:
            with closing(self._session()) as session, session.cursor() as cursor:
                cursor.execute(NOT_COPIED)
                self._require_innodb(cursor.fetchall())
                with _plugin(cursor):
                    cursor.execute(f"CLONE LOCAL DATA DIRECTORY = '{self._copy}'")
        except (pymysql.Error, OSError) as error:
            raise EngineFailed(f"mysql could not be copied: {error.args[-1] if error.args else error}") from error

    def _session(self) -> "Connection[Any]":
        return connect(self._socket, patience=LOGIN_SECONDS, seconds=COPY_SECONDS, settings=SETTINGS)

    def _require_innodb(self, others: Sequence[tuple[Any, ...]]) -> None:
        """Refuse what would be a backup without some of its rows."""
        if others:
            schema, table, engine = others[0]
            more = f" and {len(others) - 1} others" if len(others) > 1 else ""
            raise Unsupported(
                f"table {schema}.{table}{more} cannot be backed up with storage engine {engine}:"
                " ALTER TABLE … ENGINE = InnoDB first"
            )

    def position(self, said: str) -> str:
        """There is no log that an increment could begin at."""
        return ""

    def taking(self, folder: Path) -> Tool:
        """The archive is tar's."""
        return extracting(folder)

    def make_whole(self, parts: Sequence[Path]) -> None:
        """Have the engine recover it by itself, with this guest's administrator and without the plugin."""
        (folder,) = parts
        self.do(self._alone(folder, NO_PLUGIN))
        self.do([host.find_program("rm"), "-f", "--", *(str(folder / name) for name in LEFT)])


@contextmanager
def _plugin(cursor: Any) -> Iterator[None]:
    """There while it is needed: with it, a user with such rights could have the data replaced by another server's."""
    try:
        cursor.execute("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
    except pymysql.Error as error:
        if error.args[0] != ALREADY_INSTALLED:
            raise
    try:
        yield
    finally:
        with suppress(pymysql.Error):  # the next backup finds it installed
            cursor.execute("UNINSTALL PLUGIN clone")
