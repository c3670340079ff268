"""PostgreSQL on this machine: its data directory, its process, its configuration."""

import shutil
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
from workflows.files import write_private


class PostgreSQL(Datastore):
    """PostgreSQL 15 and later."""

    manager: ClassVar[str] = "postgresql"

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._folder = around.data / "postgresql"
        self._process = EngineProcess(around.state, "postgresql")
        self._session = Session(self._folder, around.admin_password)
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
        shutil.rmtree(half, ignore_errors=True)
        secret = self.around.state / "os_admin"
        self.around.admin_password()
        try:
            host.run(
                [self._program("initdb"), f"--pgdata={half}", f"--username={ADMIN}", f"--pwfile={secret}",
                 "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"]
            )  # fmt: skip
        except host.CommandFailed as error:
            raise EngineFailed(f"postgresql could not be initialised: {error.output}") from error
        write_private(half / "pg_hba.conf", ACCESS)
        half.rename(self._folder)

    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write postgresql.conf into the data directory."""
        address = self.around.bind_address
        paths = {
            "listen_addresses": address,
            "port": str(POSTGRESQL.port),
            "unix_socket_directories": ".",  # the data directory: the whole path may be too long for a socket
        }
        write_private(self._folder / "postgresql.conf", render(paths, memory_mib, settings))

    def start(self) -> None:
        """Start the postmaster."""
        self._process.start([self._program("postgres"), "-D", str(self._folder)], self.answers)

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
