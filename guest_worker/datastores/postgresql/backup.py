"""Backups of PostgreSQL with its own tool: the data directory as one archive, with the log that makes it consistent."""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from contract.domain.datastores.postgresql import BACKUP_USER, POSTGRESQL
from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.backup import EngineBackup, Tool, extracting
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.postgresql.administrator import ALONE, DONE, restoring, scram_verifier
from guest_worker.datastores.postgresql.connecting import HOME, UNLOGGED, connect
from guest_worker.datastores.postgresql.template import FIRM

COMPLETED = "base backup completed"
END = re.compile(r"write-ahead log end point: ([0-9A-F]+/[0-9A-F]+)")
TIMELINE = re.compile(r"write-ahead log start point: [0-9A-F]+/[0-9A-F]+ on timeline ([0-9]+)")
LOGIN_SECONDS = 10.0
OPTIONS = " ".join(f"-c {key}={value}" for key, value in {**UNLOGGED, "statement_timeout": "0"}.items())
SLOT = "SELECT pg_catalog.pg_create_physical_replication_slot('coffer_backup', true, true)"
DROPPED = f"DROP ROLE IF EXISTS {BACKUP_USER}"
LOCK = f".s.PGSQL.{POSTGRESQL.port}.lock"  # of the socket, where that is in the data directory
LEFT = ("backup_manifest", "standby.signal", "recovery.signal", LOCK)


class PostgreSQLBackup(EngineBackup):
    """pg_basebackup: it copies while the engine runs, and holds up nothing."""

    def __init__(
        self, context: EngineContext, manager: str, socket: EngineSocket, program: Callable[[str], str]
    ) -> None:
        """`program`: the path of one of the engine's programs."""
        super().__init__(context, manager)
        self._socket = socket
        self._program = program
        self._secret = context.data / f"{manager}.backup"

    @contextmanager
    def copying(self, since: str) -> Iterator[Tool]:
        """By an account of its own, and with the log kept by a slot that ends with our session.

        A slot that stays would fill the volume.
        """
        password = secrets.token_urlsafe(24)
        try:
            with connect(self._socket, HOME, seconds=LOGIN_SECONDS, options=OPTIONS) as session:
                session.execute(DROPPED)
                session.execute(f"CREATE ROLE {BACKUP_USER} LOGIN REPLICATION PASSWORD '{scram_verifier(password)}'")
                try:
                    session.execute(SLOT)
                    # of the engine's user alone, or libpq does not read it
                    self.context.engine.write(self._secret, f"*:*:*:*:{password}\n")
                    yield Tool(self._copy(), COMPLETED)
                finally:
                    self.context.engine.remove(self._secret)
                    session.execute(DROPPED)
        except psycopg.Error as error:
            raise EngineFailed(f"postgresql could not be backed up: {str(error).strip()}") from error

    def _copy(self) -> list[str]:
        place = (
            f"host={self.context.sockets or self.folder} port={POSTGRESQL.port} user={BACKUP_USER}"
            f" passfile={self._secret} sslmode=disable gssencmode=disable"
        )
        how = ["--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--no-password", "--verbose", "--pgdata=-"]
        return [self._program("pg_basebackup"), f"--dbname={place}", *how]

    def position(self, said: str) -> str:
        """Timeline and place in the write-ahead log up to which it is consistent."""
        timeline, end = TIMELINE.search(said), END.search(said)
        if timeline is None or end is None:
            raise EngineFailed("pg_basebackup did not say at which position the backup is")
        return f"{timeline[1]} {end[1]}"

    def taking(self, folder: Path) -> Tool:
        """The archive is tar's."""
        return extracting(folder)

    def make_whole(self, parts: Sequence[Path]) -> None:
        """Check every file by the tool's own list, and recover to the end of the log that came with them."""
        (folder,) = parts
        self.do([self._program("pg_verifybackup"), "--quiet", str(folder)])
        self.do([host.find_program("rm"), "-f", "--", *(str(folder / name) for name in LEFT)])
        try:
            self.do(self._alone(folder, "template1"))
        except EngineFailed:  # a setting of ALTER SYSTEM may be of another server
            own = str(folder / "postgresql.auto.conf")
            self.do([host.find_program("mv"), "--", own, f"{own}.refused"])
            self.do(self._alone(folder, "template1"))
        self._make_accounts(folder)

    def _alone(self, folder: Path, database: str) -> list[str]:
        options = (part for key, value in {**FIRM, **ALONE}.items() for part in ("-c", f"{key}={value}"))
        return [self._program("postgres"), "--single", "-D", str(folder), *options, database]

    def _make_accounts(self, folder: Path) -> None:
        """This guest's administrator, and none that the backup was made with."""
        given, said = f"{DROPPED}\n{restoring(self.context.admin_password())}", ""
        for database in (HOME, "template1", "template0"):  # the tenant's root may have dropped the first ones
            with suppress(host.CommandFailed):
                said = self.context.engine.run(self._alone(folder, database), given=given)
            if DONE in said:
                return
        raise EngineFailed(f"postgresql's administrator could not be made: {said[-300:]}")
