"""MariaDB on this machine: its data directory, its process, its configuration."""

import os
import signal
from collections.abc import Mapping
from typing import ClassVar

import pymysql

from guest_worker import host
from guest_worker.datastores.base import Datastore, EngineState, Probe, Surroundings
from guest_worker.datastores.mariadb.accounts import MariaDBAccounts
from guest_worker.datastores.mariadb.probe import Prober
from guest_worker.datastores.mariadb.session import ADMIN, Session
from guest_worker.datastores.mariadb.template import render
from guest_worker.datastores.process import EngineProcess
from workflows.domain.datastores.mariadb import MARIADB
from workflows.domain.errors import EngineFailed

CONFIG = "mariadb.cnf"
NO_OTHERS = "DELETE FROM mysql.global_priv WHERE User IN ('', 'root');\nFLUSH PRIVILEGES;\n"


class MariaDB(Datastore):
    """MariaDB 10.11 and later."""

    manager: ClassVar[str] = "mariadb"

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._folder = around.data / "mariadb"
        self._files = around.data / "mariadb_files"  # all that SQL may read and write; not the data directory
        self._config = around.config_file(CONFIG)
        self._process = EngineProcess(around.state, "mariadb", around.engine)
        self._session = Session(around.sockets or self._folder, around.admin_password)
        self._prober = Prober(around.sockets or self._folder, ADMIN, around.admin_password)
        self._accounts = MariaDBAccounts(self._session)

    @property
    def accounts(self) -> MariaDBAccounts:
        """MariaDB has databases and users."""
        return self._accounts

    def _program(self, name: str) -> str:
        prefix = self.around.prefix
        return host.find_program(name, f"{prefix}/usr/sbin", f"{prefix}/usr/bin") if prefix else host.find_program(name)

    def initialise(self) -> None:
        """Build beside, move into place last: a half-made directory is never taken for a database."""
        if self._folder.exists():
            return
        half = self._folder.with_name("mariadb.half")
        self.around.engine.remove(half)
        try:
            self.around.engine.run(
                [self._program("mariadb-install-db"), "--no-defaults", f"--datadir={half}", "--skip-test-db",
                 "--skip-name-resolve", "--auth-root-authentication-method=normal"]
            )  # fmt: skip
            bootstrap = [self._program("mariadbd"), "--no-defaults", "--bootstrap", f"--datadir={half}"]
            self.around.engine.run(bootstrap, given=self._administrator() + NO_OTHERS)
            self.around.engine.move(half, self._folder)
        except host.CommandFailed as error:
            raise EngineFailed(f"mariadb could not be initialised: {error.output}") from error

    def _administrator(self) -> str:
        """One administrator, whatever was there of it; by standard input, for a command line can be read by all."""
        secret = pymysql.converters.escape_string(self.around.admin_password())
        return (
            "SET sql_mode = '';\n"
            f"DELETE FROM mysql.global_priv WHERE User = '{ADMIN}';\n"  # also rows that no statement could change
            "FLUSH PRIVILEGES;\n"
            f"CREATE USER '{ADMIN}'@'localhost' IDENTIFIED BY '{secret}' PASSWORD EXPIRE NEVER ACCOUNT UNLOCK;\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'localhost' WITH GRANT OPTION;\n"
            "FLUSH PRIVILEGES;\n"
        )

    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write my.cnf, and make the only folder that SQL may read files from and write them to."""
        paths = {
            "datadir": str(self._folder),
            # without a folder for sockets below the data directory: the whole path may be too long for a socket
            "socket": str(self.around.sockets / "mariadb.sock") if self.around.sockets else "mariadb.sock",
            "pid_file": "mariadbd.pid",
            "bind_address": self.around.bind_address,
            "port": str(MARIADB.port),
            "secure_file_priv": str(self._files),
            "tmpdir": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the machine's own
        }
        self.around.engine.run([host.find_program("mkdir"), "-p", "--", str(self._files)])
        self.around.write_config(CONFIG, render(paths, memory_mib, settings))

    def start(self) -> None:
        """Start mariadbd."""
        command = [self._program("mariadbd"), f"--defaults-file={self._config}"]
        self._process.start(command, self.probe)

    def restore_administrator(self) -> None:
        """Make the administrator's account anew, without network and without looking at anybody's rights."""
        command = [self._program("mariadbd"), f"--defaults-file={self._config}", "--bootstrap", "--skip-networking"]
        try:
            self.around.engine.run(command, given=self._administrator())
        except host.CommandFailed as error:
            raise EngineFailed(f"mariadb's administrator could not be restored: {error.output}") from error

    def stop(self) -> None:
        """SIGTERM is MariaDB's orderly shutdown."""
        self._session.close()
        self._prober.close()
        self._process.stop(signal.SIGTERM)

    def runs(self) -> bool:
        """Whether mariadbd lives."""
        return self._process.pid() is not None

    def probe(self) -> Probe:
        """Ask as the administrator."""
        seen = self._prober.probe() if self.runs() else Probe(EngineState.SILENT)
        return self._process.silent(seen.words) if seen.state is EngineState.SILENT else seen

    def rotate_log(self) -> None:
        """Keep mariadbd's log small."""
        self._process.rotate_log()

    def version(self) -> str:
        """As the server says it, without the distribution's suffix."""
        return str(self._session.one("SELECT VERSION()")[0]).split("-")[0]
