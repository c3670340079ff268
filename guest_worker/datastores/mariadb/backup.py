"""Backups of MariaDB with its own tool, full and incremental."""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from contract.domain.datastores.mariadb import KEPT
from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.backup import EngineBackup, Tool
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.mariadb.recipe import program
from guest_worker.datastores.mariadb.session import Session

ACCOUNT = f"'{KEPT}backup'@'localhost'"  # no tenant can name it
RIGHTS = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR"
NO_ACCOUNT = f"DELETE FROM mysql.global_priv WHERE User = '{KEPT}backup';\nFLUSH PRIVILEGES;\n"
CONFIG = "backup.cnf"
DONE = "completed OK!"
POSITION = re.compile(r"The latest check point \(for incremental\): '([0-9]+)'")
# what the tool leaves, and what another instance's replication was at
LEFT = (
    "backup-my.cnf",
    *(
        f"{tool}_{name}"
        for tool in ("xtrabackup", "mariadb_backup")
        for name in ("checkpoints", "info", "binlog_info", "slave_info", "binlog_pos_innodb")
    ),
    "master.info",
    "relay-log.info",
    "multi-master.info",
)


class MariaDBBackup(EngineBackup):
    """mariadb-backup: it copies while the engine runs, and holds up changes of tables for moments only."""

    incremental = True

    def __init__(
        self, context: EngineContext, manager: str, session: Session, bootstrap: Callable[[Path, str], None]
    ) -> None:
        """`bootstrap`: gives a data directory this guest's administrator, and does some statements more."""
        super().__init__(context, manager)
        self._session = session
        self._bootstrap = bootstrap

    @contextmanager
    def copying(self, since: str) -> Iterator[Tool]:
        """By an account of its own: the tool runs as the engine's user, who is not to know the administrator's."""
        password = secrets.token_urlsafe(24)
        socket = (self.context.sockets or self.folder) / "mariadb.sock"
        self._session.rows(f"CREATE OR REPLACE USER {ACCOUNT} IDENTIFIED BY '{password}'")
        try:
            self._session.rows(f"GRANT {RIGHTS} ON *.* TO {ACCOUNT}")
            account = f"user={KEPT}backup\npassword={password}\nsocket={socket}\n"
            self.context.write_config(CONFIG, f"[mariadb-backup]\n{account}")
            yield Tool(self._copy(since), DONE)
        finally:
            self.context.config_file(CONFIG).unlink(missing_ok=True)
            with suppress(EngineFailed):  # the next backup replaces it, and it can do little
                self._session.rows(f"DROP USER IF EXISTS {ACCOUNT}")

    def _copy(self, since: str) -> list[str]:
        if since and not since.isdigit():
            raise EngineFailed(f"{since!r} is no position that an increment can begin at")
        increment = [f"--incremental-lsn={since}"] if since else []
        return [
            program("mariadb-backup", self.context.prefix),
            f"--defaults-file={self.context.config_file(CONFIG)}",
            "--backup",
            "--stream=xbstream",
            f"--datadir={self.folder}",
            *increment,
        ]

    def position(self, said: str) -> str:
        """The checkpoint, from which the next increment begins."""
        found = POSITION.findall(said)
        if not found:
            raise EngineFailed("mariadb-backup did not say at which position the backup is")
        return str(found[-1])

    def taking(self, folder: Path) -> Tool:
        """Its own archive format."""
        return Tool([program("mbstream", self.context.prefix), "-x", "-C", str(folder)])

    def make_whole(self, parts: Sequence[Path]) -> None:
        """Apply the log of each part; then other accounts and files are as in a data directory that was made here."""
        first, *increments = parts
        prepare = [program("mariadb-backup", self.context.prefix), "--prepare", f"--target-dir={first}"]
        self.do(prepare, DONE)
        for each in increments:
            self.do([*prepare, f"--incremental-dir={each}"], DONE)
        self.do([host.find_program("rm"), "-f", "--", *(str(first / name) for name in LEFT)])
        self._bootstrap(first, NO_ACCOUNT)
