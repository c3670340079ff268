"""MySQL on this machine: its data directory, its process, its configuration."""

import os
import pwd
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from temporalio.exceptions import ApplicationError

from contract.domain.datastores.mysql import MYSQL
from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.mariadb.connecting import ADMIN
from guest_worker.datastores.mariadb.logs import UNLOGGED, QueryLogs
from guest_worker.datastores.mariadb.variables import set_globals
from guest_worker.datastores.mysql.accounts import MySQLAccounts
from guest_worker.datastores.mysql.backup import MySQLBackup
from guest_worker.datastores.mysql.probe import Prober
from guest_worker.datastores.mysql.session import Session
from guest_worker.datastores.mysql.template import FIXED, render, sized
from guest_worker.datastores.mysql.tls import MySQLTls
from guest_worker.datastores.server import ServerDatastore

CONFIG = "mysql.cnf"
TABLES = ("user", "global_grants", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv", "default_roles")


class MySQL(ServerDatastore):
    """MySQL 9.7 and later."""

    manager: ClassVar[str] = "mysql"
    stop_signal = signal.SIGTERM  # MySQL's orderly shutdown
    session: Session

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._files = context.data / "mysql_files"  # all that SQL may read and write; not the data directory
        self._config = context.config_file(CONFIG)
        self.session = Session(self._socket)
        self._prober = Prober(self._socket)
        self._logs = QueryLogs(context, self.session, self._process.log)
        self._accounts = MySQLAccounts(self.session, context.state)
        self._tls = MySQLTls(context, self.manager, self.session)
        self._accounts.required = self._tls.required
        self._backup = MySQLBackup(context, self.manager, self._socket, self._alone)

    @property
    def accounts(self) -> MySQLAccounts:
        """MySQL has databases and users."""
        return self._accounts

    @property
    def logs(self) -> QueryLogs:
        """The error log, and those of statements."""
        return self._logs

    @property
    def tls(self) -> MySQLTls:
        """MySQL has TLS."""
        return self._tls

    @property
    def backup(self) -> MySQLBackup:
        """With the engine's own plugin."""
        return self._backup

    def _program(self) -> str:
        prefix = self.context.prefix
        return host.find_program("mysqld", f"{prefix}/bin") if prefix else host.find_program("mysqld")

    def _parts(self) -> dict[str, str]:
        """Where the engine's own files are, which would else be looked for in the system's folders."""
        prefix = self.context.prefix
        if not prefix:
            return {}
        return {
            "basedir": f"{prefix}/usr",
            "lc_messages_dir": f"{prefix}/usr/share/mysql",
            "character_sets_dir": f"{prefix}/usr/share/mysql/charsets",
            "plugin_dir": f"{prefix}/usr/lib/mysql/plugin",
        }

    def make_data(self, folder: Path) -> None:
        """Have the engine make it."""
        options = {
            **self._parts(),
            "datadir": str(folder),
            "secure_file_priv": "NULL",
            "innodb_redo_log_capacity": "16M",
        }
        self._making.run(
            [self._program(), "--no-defaults", *(f"--{key}={value}" for key, value in options.items()),
             "--disable-log-bin", "--initialize-insecure", "--init-file=/dev/stdin"],
            given=self._administrator() + "DROP USER 'root'@'localhost';\n",
        )  # fmt: skip

    def _administrator(self) -> str:
        """One administrator, whatever was there of it; the engine knows it by the OS user at the other end of the socket.

        The plugin that looks at that is not loaded while a data directory is made, so it is written into the table.
        """
        guest = pwd.getpwuid(os.geteuid()).pw_name
        return (
            "".join(f"DELETE FROM mysql.{table} WHERE User = '{ADMIN}';\n" for table in TABLES)
            + f"DELETE FROM mysql.role_edges WHERE '{ADMIN}' IN (FROM_USER, TO_USER);\n"
            "FLUSH PRIVILEGES;\n"
            f"CREATE USER '{ADMIN}'@'localhost' PASSWORD EXPIRE NEVER ACCOUNT LOCK;\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'localhost' WITH GRANT OPTION;\n"
            f"UPDATE mysql.user SET plugin = 'auth_socket', authentication_string = '{guest}', account_locked = 'N'"
            f" WHERE User = '{ADMIN}' AND Host = 'localhost';\n"
            "FLUSH PRIVILEGES;\n"
        )

    def _alone(self, folder: Path, statements: str) -> list[str]:
        """The command that makes this guest's administrator in a data directory, and does some statements more."""
        file = folder / "first.sql"
        self.context.engine.write(file, f"{self._administrator()}{statements}SHUTDOWN;\n")
        options = {**self._parts(), "datadir": str(folder), "socket": "mysql.sock", "pid_file": "mysqld.pid",
                   "mysqlx": "OFF", "event_scheduler": "OFF", "init_file": str(file), "secure_file_priv": "NULL"}  # fmt: skip
        return [self._program(), "--no-defaults", "--skip-networking", "--disable-log-bin",
                *(f"--{key}={value}" for key, value in options.items())]  # fmt: skip

    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write my.cnf, and make the only folder that SQL may read files from and write them to."""
        paths = {
            **self._parts(),
            "datadir": str(self._folder),
            # without a folder for sockets below the data directory: the whole path may be too long for a socket
            "socket": str(self.context.sockets / "mysql.sock") if self.context.sockets else "mysql.sock",
            "pid_file": "mysqld.pid",
            "bind_address": self.context.bind_address,
            "port": str(MYSQL.port),
            "secure_file_priv": str(self._files),
            "tmpdir": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the machine's own
        }
        self.context.engine.run([host.find_program("mkdir"), "-p", "-m", "0750", "--", str(self._files)])
        self.context.write_config(CONFIG, render({**paths, **self._tls.settings()}, memory_mib, settings))

    def defaults(self, memory_mib: int) -> dict[str, str]:
        """What my.cnf says without settings of the tenant's."""
        return {name: value for name, value in {**FIXED, **sized(memory_mib)}.items() if not name.startswith("loose_")}

    def change_live(self, old: Mapping[str, str], new: Mapping[str, str], memory_mib: int) -> None:
        """Set global variables."""
        set_globals(self.session, old, new, self.defaults(memory_mib))

    def start(self) -> None:
        """Start mysqld; one that was killed left the lock of its socket, whose process id may be another's now."""
        if not self.runs():
            self.context.engine.remove((self.context.sockets or self._folder) / "mysql.sock.lock")
        self._process.start([self._program(), f"--defaults-file={self._config}"], self.probe)
        self.session.keep()
        with suppress(ApplicationError):  # one that the tenant's root has made meanwhile; asked again at the next start
            self._tls.hold_accounts()
        self._accounts.finish()

    def restore_administrator(self) -> None:
        """Recreate the administrator's account, without network and without looking at anybody's rights."""
        command = [self._program(), f"--defaults-file={self._config}", "--skip-networking", "--event-scheduler=OFF",
                   "--init-file=/dev/stdin", *UNLOGGED]  # fmt: skip
        try:
            self.context.engine.run(command, given=self._administrator() + "SHUTDOWN;\n")
        except host.CommandFailed as error:
            raise EngineFailed(f"mysql's administrator could not be restored: {error.output}") from error

    def version(self) -> str:
        """As the server says it, without the distribution's suffix."""
        return str(self.session.one("SELECT VERSION()")[0]).split("-")[0]


DRIVER = MySQL
