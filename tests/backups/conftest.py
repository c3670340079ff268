"""Engines that are backed up and others that get their data, and the stores between them."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.manifest import backup_prefix
from contract.keys.sealing import SecretBox
from contract.ports.backups import BackupOrder, BackupParent, BackupReport, BackupSource, RestoreOrder
from contract.ports.tickets import Right
from guest_worker.datastores.base import PlainUser
from tests.api.conftest import admin, demo
from tests.backups.work import Server
from tests.contracts.engines import DIALECTS, ENGINES, copy_template, engine_context
from tests.contracts_objects.conftest import s3, server, store, swift
from tests.contracts_objects.stores import S3Store, Store
from tests.driver_process import DriverProcess, open_folder
from tests.machine import kill_below, loopback

__all__ = ["admin", "demo", "s3", "server", "store", "swift"]
PASSWORD = "secret"
TABLE = "CREATE TABLE written (n int PRIMARY KEY, text varchar(200))"


@dataclass
class Instance:
    """A guest with its engine."""

    manager: str
    store: Store
    folder: Path
    id: UUID = field(default_factory=uuid4)
    address: str = field(default_factory=loopback)

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)

    def build(self, series: str = "tried") -> "Instance":
        """Its driver."""
        context = engine_context(self.manager, self.folder / "data", self.folder / "state", self.address)
        self.guest: Any = DriverProcess(Server, self.manager, context, self.id, series)
        return self

    def start(self) -> None:
        """As a guest starts an engine whose data is there."""
        self.guest.engine.initialise()
        self.guest.engine.configure(512, DIALECTS[self.manager].forgetful)
        self.guest.engine.start()

    def ask(self, *statements: str) -> list[tuple[Any, ...]]:
        """As a tenant's user; the rows of the last statement."""
        rows: list[tuple[Any, ...]] = []
        with closing(self.connect()) as connection:
            for each in statements:
                rows = DIALECTS[self.manager].ask(connection, each)
        return rows

    def connect(self) -> Any:
        """As a tenant's user."""
        return DIALECTS[self.manager].connect(self.address, "amy", PASSWORD, "app")

    @property
    def box(self) -> SecretBox:
        """Of this guest."""
        return self.store.box(self.id)

    def end(self) -> list[int]:
        """Kill all; return what was there."""
        found = kill_below(self.folder)
        self.guest.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        return found


@dataclass
class Backup:
    """One that was made, and whose."""

    of: Instance
    id: UUID
    key: str
    report: BackupReport

    def source(self, reader: Instance) -> BackupSource:
        """For whoever restores it."""
        ticket = reader.store.issue(reader.id, backup_prefix(self.of.id, self.id), Right.READ)
        return BackupSource(instance_id=self.of.id, backup_id=self.id, ticket=ticket, key=reader.box.seal(self.key),
                            checksum=self.report.checksum)  # fmt: skip


def order_of(instance: Instance, key: str, parent: Backup | None = None) -> BackupOrder:
    """For a new backup."""
    backup_id = uuid4()
    ticket = instance.store.issue(instance.id, backup_prefix(instance.id, backup_id), Right.WRITE)
    of = BackupParent(backup_id=parent.id, position=parent.report.position) if parent else None
    return BackupOrder(backup_id=backup_id, ticket=ticket, key=instance.box.seal(key), key_id="c:test:1", parent=of)


def back_up(instance: Instance, parent: Backup | None = None) -> Backup:
    """Make one."""
    key = uuid4().hex * 2
    order = order_of(instance, key, parent)
    return Backup(instance, order.backup_id, key, instance.guest.back_up(order))


def restore(instance: Instance, *chain: Backup) -> Any:
    """Restore it."""
    return instance.guest.restore_data(RestoreOrder(chain=tuple(each.source(instance) for each in chain)))


class Writer:
    """A tenant at work: writes one row after the other and knows which were acknowledged."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.acknowledged = int(instance.ask("SELECT coalesce(max(n), 0) FROM written")[0][0])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def _write(self) -> None:
        with closing(self._instance.connect()) as connection:
            while not self._stop.is_set():
                number = self.acknowledged + 1
                DIALECTS[self._instance.manager].ask(
                    connection, f"INSERT INTO written VALUES ({number}, repeat('{number % 10}', 200))"
                )
                self.acknowledged = number

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module", params=ENGINES)
def manager(request: pytest.FixtureRequest) -> str:
    """Each engine."""
    return str(request.param)


@pytest.fixture(scope="module")
def instance(manager: str, s3: S3Store) -> Iterator[Instance]:
    """One with a database, a user, and a table."""
    made = Instance(manager, s3, Path(tempfile.mkdtemp(prefix=f"coffer-{manager}-")))
    copy_template(manager, made.folder)
    made.build().start()
    made.guest.engine.accounts.create_database(NewDatabase(name="app"))
    made.guest.engine.accounts.create_user(PlainUser(UserName(name="amy"), PASSWORD, ("app",)))
    made.ask(TABLE, "INSERT INTO written VALUES (1, 'first')")
    yield made
    made.end()


@pytest.fixture
def other(manager: str, s3: S3Store) -> Iterator[Instance]:
    """A new one without data."""
    made = Instance(manager, s3, Path(tempfile.mkdtemp(prefix=f"coffer-{manager}-")))
    for name in ("data", "state"):
        open_folder(made.folder / name)
    yield made.build()
    made.end()
