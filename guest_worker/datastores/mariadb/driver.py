"""MariaDB on this machine: its data directory, its process, its configuration."""

import hashlib
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from temporalio.exceptions import ApplicationError

from contract.domain.datastores.mariadb import KEPT, MARIADB
from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.mariadb.accounts import MariaDBAccounts
from guest_worker.datastores.mariadb.backup import MariaDBBackup
from guest_worker.datastores.mariadb.connecting import ADMIN
from guest_worker.datastores.mariadb.logs import UNLOGGED, QueryLogs
from guest_worker.datastores.mariadb.probe import Prober
from guest_worker.datastores.mariadb.recipe import SMALL_LOG, install, parts, program
from guest_worker.datastores.mariadb.session import Session
from guest_worker.datastores.mariadb.template import FIXED, render, sized
from guest_worker.datastores.mariadb.tls import MariaDBTls
from guest_worker.datastores.mariadb.variables import set_globals
from guest_worker.datastores.process import EngineProcess
from guest_worker.datastores.server import ServerDatastore

CONFIG, CLIENT = "mariadb.cnf", "upgrade.cnf"
UPGRADER = f"{KEPT}upgrade"  # no tenant can name it
ALONE = ("--skip-networking", "--event-scheduler=OFF", "--skip-slave-start")
UPGRADE_SECONDS = 6 * 3600.0  # that the first start of another series may take
NO_OTHERS = "DELETE FROM mysql.global_priv WHERE User IN ('', 'root');\nFLUSH PRIVILEGES;\n"


class MariaDB(ServerDatastore):
    """MariaDB 10.11 and later."""

    manager: ClassVar[str] = "mariadb"
    stop_signal = signal.SIGTERM  # MariaDB's orderly shutdown
    session: Session

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._files = context.data / "mariadb_files"  # all that SQL may read and write; not the data directory
        self._config = context.config_file(CONFIG)
        self.session = Session(self._socket)
        self._prober = Prober(self._socket)
        self._logs = QueryLogs(context, self.session, self._process.log)
        self._accounts = MariaDBAccounts.of(self.session)
        self._tls = MariaDBTls(context, self.manager, self.session)
        self._accounts.required = self._tls.required
        self._backup = MariaDBBackup(context, self.manager, self.session, self._bootstrap)

    @property
    def accounts(self) -> MariaDBAccounts:
        """MariaDB has databases and users."""
        return self._accounts

    @property
    def logs(self) -> QueryLogs:
        """The error log, and those of statements."""
        return self._logs

    @property
    def tls(self) -> MariaDBTls:
        """MariaDB has TLS."""
        return self._tls

    @property
    def backup(self) -> MariaDBBackup:
        """With its own tool."""
        return self._backup

    def _program(self, name: str) -> str:
        return program(name, self.context.prefix)

    def make_data(self, folder: Path) -> None:
        """Copy the image's, or have it made."""
        if template := self.context.template:
            self.context.copy_template(template, folder)
        else:
            self._making.run(install(self.context.prefix, folder))
        self._bootstrap(folder, NO_OTHERS)

    def _bootstrap(self, folder: Path, statements: str) -> None:
        """Give a data directory its administrator, and do some statements more."""
        places = [f"--{key}={value}" for key, value in parts(self.context.prefix).items()]
        command = [self._program("mariadbd"), "--no-defaults", "--bootstrap", f"--datadir={folder}", *places, SMALL_LOG]
        self.context.engine.run(command, given=self._administrator() + statements)

    def _administrator(self) -> str:
        """One administrator, whatever was there of it; by standard input, for a command line can be read by all.

        The password itself is not said: the engine's OS user, as which a tenant's code may run, can read the input.
        """
        password = self.context.admin_password().encode()
        kept = hashlib.sha1(hashlib.sha1(password).digest()).hexdigest().upper()  # noqa: S324 - mysql_native_password
        return (
            "SET sql_mode = '';\n"
            f"DELETE FROM mysql.global_priv WHERE User = '{ADMIN}';\n"  # also rows that no statement could change
            "FLUSH PRIVILEGES;\n"
            f"CREATE USER '{ADMIN}'@'localhost' IDENTIFIED BY PASSWORD '*{kept}' PASSWORD EXPIRE NEVER ACCOUNT UNLOCK;\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'localhost' WITH GRANT OPTION;\n"
            "FLUSH PRIVILEGES;\n"
        )

    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write my.cnf, and make the only folder that SQL may read files from and write them to."""
        paths = {
            **parts(self.context.prefix),
            "datadir": str(self._folder),
            # without a folder for sockets below the data directory: the whole path may be too long for a socket
            "socket": str(self.context.sockets / "mariadb.sock") if self.context.sockets else "mariadb.sock",
            "pid_file": "mariadbd.pid",
            "bind_address": self.context.bind_address,
            "port": str(MARIADB.port),
            "secure_file_priv": str(self._files),
            "tmpdir": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the machine's own
        }
        self.context.engine.run([host.find_program("mkdir"), "-p", "--", str(self._files)])
        self.context.write_config(CONFIG, render({**paths, **self._tls.settings()}, memory_mib, settings))

    def defaults(self, memory_mib: int) -> dict[str, str]:
        """What my.cnf says without settings of the tenant's."""
        return {name: value for name, value in {**FIXED, **sized(memory_mib)}.items() if not name.startswith("loose_")}

    def change_live(self, old: Mapping[str, str], new: Mapping[str, str], memory_mib: int) -> None:
        """Set global variables."""
        set_globals(self.session, old, new, self.defaults(memory_mib))

    def start(self) -> None:
        """Start mariadbd."""
        command = [self._program("mariadbd"), f"--defaults-file={self._config}"]
        self._process.start(command, self.probe)
        self.session.keep()
        with suppress(ApplicationError):  # one that the tenant's root has made meanwhile; asked again at the next start
            self._tls.hold_accounts()

    def restore_administrator(self) -> None:
        """Recreate the administrator's account, without network and without looking at anybody's rights."""
        command = [self._program("mariadbd"), f"--defaults-file={self._config}", "--bootstrap", "--skip-networking",
                   *UNLOGGED]  # fmt: skip
        try:
            self.context.engine.run(command, given=self._administrator())
        except host.CommandFailed as error:
            raise EngineFailed(f"mariadb's administrator could not be restored: {error.output}") from error

    def upgrade_data(self) -> str:
        """Start the engine without network, and have its own program upgrade the system tables and check all others."""
        self.stop()
        self.restore_administrator()  # the guest before had another password
        try:
            self._process.start(
                [self._program("mariadbd"), f"--defaults-file={self._config}", *ALONE],
                self.probe,
                patience=UPGRADE_SECONDS,
            )
            with self._upgrader() as file:
                command = [self._program("mariadb-upgrade"), f"--defaults-file={file}", "--force", "--skip-ssl"]
                EngineProcess(self.context.state, "upgrade", self.context.engine).run(command)
            return self.version()
        except EngineFailed as error:
            raise EngineFailed(f"mariadb's data could not be upgraded: {error.message}") from error
        finally:
            self.stop()

    @contextmanager
    def _upgrader(self) -> Iterator[Path]:
        """An account for the engine's program, in a file: it runs as the engine's user, who is not to know the administrator's.

        What an attempt that was broken off has left of it is replaced.
        """
        account, password = f"'{UPGRADER}'@'localhost'", secrets.token_urlsafe(24)
        socket = (self.context.sockets or self._folder) / "mariadb.sock"
        self.session.rows(f"CREATE OR REPLACE USER {account} IDENTIFIED BY '{password}'")
        self.session.rows(f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION")
        self.context.write_config(CLIENT, f"[client]\nuser={UPGRADER}\npassword={password}\nsocket={socket}\n")
        try:
            yield self.context.config_file(CLIENT)
        finally:
            self.context.config_file(CLIENT).unlink()
        self.session.rows(f"DROP USER {account}")

    def version(self) -> str:
        """As the server says it, without the distribution's suffix."""
        return str(self.session.one("SELECT VERSION()")[0]).split("-")[0]


DRIVER = MariaDB
