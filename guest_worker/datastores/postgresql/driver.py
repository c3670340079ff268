"""PostgreSQL on this machine: its data directory, its process, its configuration."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from guest_worker import host
from guest_worker.datastores.base import Datastore, Surroundings
from guest_worker.datastores.postgresql.accounts import PostgreSQLAccounts
from guest_worker.datastores.postgresql.session import ADMIN, Session
from guest_worker.datastores.postgresql.template import ACCESS, render
from guest_worker.datastores.process import EngineProcess
from workflows.domain.datastores.postgresql import POSTGRESQL
from workflows.domain.errors import EngineFailed

CONFIG, ACCESS_FILE = "postgresql.conf", "pg_hba.conf"


class PostgreSQL(Datastore):
    """PostgreSQL 15 and later."""

    manager: ClassVar[str] = "postgresql"

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._folder = around.data / "postgresql"
        self._process = EngineProcess(around.state, "postgresql", around.engine)
        self._session = Session(around.sockets or self._folder, around.admin_password)
        self._accounts = PostgreSQLAccounts(self._session)

    @property
    def accounts(self) -> PostgreSQLAccounts:
        """PostgreSQL has databases and users."""
        return self._accounts

    def _program(self, name: str) -> str:
        prefix = self.around.prefix or ""
        installed = sorted(Path(f"{prefix}/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))
        return host.find_program(name, *(str(each) for each in reversed(installed)))

    def initialise(self) -> None:
        """Build beside, move into place last: a half-made directory is never taken for a database."""
        if self._folder.exists():
            return
        half = self._folder.with_name("postgresql.half")
        self.around.engine.remove(half)
        try:
            self.around.engine.run(
                [self._program("initdb"), f"--pgdata={half}", f"--username={ADMIN}", "--pwfile=/dev/stdin",
                 "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"],
                given=self.around.admin_password() + "\n",
            )  # fmt: skip
        except host.CommandFailed as error:
            raise EngineFailed(f"postgresql could not be initialised: {error.output}") from error
        half.rename(self._folder)

    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write postgresql.conf and pg_hba.conf, which a superuser of the database cannot write."""
        address = self.around.bind_address
        paths = {
            "listen_addresses": address,
            "port": str(POSTGRESQL.port),
            # without a folder for sockets the data directory: the whole path may be too long for a socket
            "unix_socket_directories": str(self.around.sockets or "."),
            "hba_file": str(self.around.config_file(ACCESS_FILE)),
        }
        self.around.write_config(ACCESS_FILE, ACCESS)
        self.around.write_config(CONFIG, render(paths, memory_mib, settings))

    def start(self) -> None:
        """Start the postmaster."""
        config = self.around.config_file(CONFIG)
        command = [self._program("postgres"), "-D", str(self._folder), "-c", f"config_file={config}"]
        self._process.start(command, self.answers)
        self._accounts.adopt()

    def stop(self) -> None:
        """SIGINT is PostgreSQL's fast shutdown: sessions end, what was committed is kept."""
        self._session.close()
        self._process.stop(signal.SIGINT)

    def runs(self) -> bool:
        """Whether the postmaster lives."""
        return self._process.pid() is not None

    def answers(self) -> bool:
        """Whether the administrator gets an answer."""
        return self._session.answers()

    def version(self) -> str:
        """As the server says it, without the distribution's suffix."""
        return str(self._session.rows("SHOW server_version")[0][0]).split()[0]
