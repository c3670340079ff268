"""PostgreSQL on this machine: its data directory, its process, its configuration."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from contract.domain.datastores.postgresql import POSTGRESQL
from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.base import AdministratorRefused, EngineContext
from guest_worker.datastores.postgresql.accounts import PostgreSQLAccounts
from guest_worker.datastores.postgresql.administrator import ALONE, initdb, restore
from guest_worker.datastores.postgresql.backup import PostgreSQLBackup
from guest_worker.datastores.postgresql.connecting import quiet
from guest_worker.datastores.postgresql.logs import OF_TENANTS, ServerLog
from guest_worker.datastores.postgresql.probe import Prober
from guest_worker.datastores.postgresql.recipe import program
from guest_worker.datastores.postgresql.reloading import reload
from guest_worker.datastores.postgresql.renewing import renew
from guest_worker.datastores.postgresql.session import Session
from guest_worker.datastores.postgresql.template import FIRM, FIXED, render, sized
from guest_worker.datastores.postgresql.tls import PostgreSQLTls
from guest_worker.datastores.postgresql.upgradable import hindrances
from guest_worker.datastores.postgresql.upgrading import SeriesUpgrade
from guest_worker.datastores.server import ServerDatastore

MIB = 1024 * 1024
CONFIG, ACCESS_FILE = "postgresql.conf", "pg_hba.conf"
UNHEARD = {"listen_addresses": "", "event_triggers": "off"}  # from 17 on
UPGRADE_SECONDS = 600.0  # that the first start of another series may take


class PostgreSQL(ServerDatastore):
    """PostgreSQL 15 and later."""

    manager: ClassVar[str] = "postgresql"
    stop_signal = signal.SIGINT  # fast shutdown: sessions end, what was committed is kept
    foreign = OF_TENANTS
    session: Session

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        more = quiet(context.prefix or "")
        self.session = Session(self._socket, more)
        self._prober = Prober(self._socket, more)
        self._accounts = PostgreSQLAccounts(self.session)
        self._logs = ServerLog(self.session, self._process.log)
        self._tls = PostgreSQLTls(context, self.manager, self.session)
        self._backup = PostgreSQLBackup(context, self.manager, self._socket, self._program)
        self._upgrade = SeriesUpgrade(context, self._folder)

    @property
    def accounts(self) -> PostgreSQLAccounts:
        """PostgreSQL has databases and users."""
        return self._accounts

    @property
    def logs(self) -> ServerLog:
        """What the server writes, and each statement of tenants where that is wanted."""
        return self._logs

    @property
    def tls(self) -> PostgreSQLTls:
        """PostgreSQL has TLS."""
        return self._tls

    @property
    def backup(self) -> PostgreSQLBackup:
        """With its own tool."""
        return self._backup

    def _program(self, name: str) -> str:
        return program(name, self.context.prefix)

    def make_data(self, folder: Path) -> None:
        """With `initdb`."""
        initdb(self.context, self._making, folder)

    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write postgresql.conf and pg_hba.conf, which a superuser of the database cannot write."""
        self.context.write_config(ACCESS_FILE, self._tls.access())
        firm = {**self._paths(), **self._tls.settings()}
        self.context.write_config(CONFIG, render(firm, memory_mib, {**self._log_sizes(), **settings}))

    def defaults(self, memory_mib: int) -> dict[str, str]:
        """What postgresql.conf says without settings of the tenant's."""
        return {**FIXED, **sized(memory_mib), **self._log_sizes()}

    def change_live(self, old: Mapping[str, str], new: Mapping[str, str], memory_mib: int) -> None:
        """Have postgresql.conf read again."""
        reload(self.session)

    def _log_sizes(self) -> dict[str, str]:
        """The write-ahead log may grow to an eighth of the volume between checkpoints, not fill it."""
        found = os.statvfs(self.context.data)
        mib = found.f_blocks * found.f_frsize // MIB
        return {"max_wal_size": f"{min(4096, max(96, mib // 8))}MB"}

    def _paths(self) -> dict[str, str]:
        return {
            "listen_addresses": self.context.bind_address,
            "port": str(POSTGRESQL.port),
            # without a folder for sockets the data directory: the whole path may be too long for a socket
            "unix_socket_directories": str(self.context.sockets or "."),
            "hba_file": str(self.context.config_file(ACCESS_FILE)),
        }

    def start(self) -> None:
        """Start the postmaster; settings of ALTER SYSTEM that keep it from starting are set aside."""
        self._with_good_settings(self._start)
        self.session.keep()
        self._accounts.adopt()

    def is_deleting(self) -> bool:
        """Whether a database is marked as one that is being dropped."""
        return self._accounts.is_deleting()

    def finish_deletions(self) -> None:
        """Drop those databases."""
        self._accounts.finish_deletions()

    def _start(self) -> None:
        self._process.start([self._program("postgres"), *self._options(FIRM)], self.probe)

    def _options(self, more: Mapping[str, str]) -> list[str]:
        """What counts for more than postgresql.conf and than what a superuser sets with ALTER SYSTEM."""
        settings = {"config_file": str(self.context.config_file(CONFIG)), **self._paths(), **more}
        return ["-D", str(self._folder), *(part for key in settings for part in ("-c", f"{key}={settings[key]}"))]

    def restore_administrator(self) -> None:
        """Write the account as it was made, in single-user mode."""
        self._with_good_settings(self._restore_administrator)

    def _restore_administrator(self) -> None:
        restore(self.context, self._program("postgres"), self._options({**FIRM, **ALONE}))

    def check_upgrade(self, version: str) -> Sequence[str]:
        """What `pg_upgrade` would refuse, too."""
        return (*super().check_upgrade(version), *hindrances(self.session, version))

    def upgrade_data(self) -> str:
        """Have `pg_upgrade` make a new data directory, and build and count what it does not take along."""
        self.stop()
        try:
            self._upgrade.run()
            self._with_good_settings(self._start_alone)
            renew(self._socket)
            return self.version()
        except EngineFailed as error:
            raise EngineFailed(f"postgresql's data could not be upgraded: {error.message}") from error
        finally:
            self.stop()

    def _start_alone(self) -> None:
        self._restore_administrator()  # the guest before had another password
        command = [self._program("postgres"), *self._options({**FIRM, **UNHEARD})]
        self._process.start(command, self.probe, patience=UPGRADE_SECONDS)

    def _with_good_settings(self, work: Callable[[], None]) -> None:
        """Do it; where the engine refuses, once more without what was set by ALTER SYSTEM."""
        own = str(self._folder / "postgresql.auto.conf")
        try:
            work()
        except AdministratorRefused:
            raise
        except EngineFailed:
            if not self._moved(own, f"{own}.refused"):
                raise
            try:
                work()
            except EngineFailed:
                self._moved(f"{own}.refused", own)
                raise

    def _moved(self, old: str, new: str) -> bool:
        try:
            self.context.engine.run([host.find_program("mv"), "--", old, new])
        except host.CommandFailed:
            return False
        return True

    def version(self) -> str:
        """As the server says it, without the distribution's suffix."""
        return str(self.session.rows("SHOW server_version")[0][0]).split()[0]


DRIVER = PostgreSQL
