"""One engine of each kind, a Temporal server, and a guest worker between them that can be ended, killed and stopped."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.calls import ShortCalls
from api.context import RequestContext
from api.idempotency import Call
from api.keystone import Identity
from contract.domain.accounts import NewUser, UserName
from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from guest_worker.datastores.base import PlainUser
from tests.accounts.guest_process import MASTER
from tests.contracts.engines import DIALECTS, ENGINES, new_engine
from tests.contracts.tables import Dialect
from tests.machine import kill_below, loopback
from tests.temporal import TemporalServer, temporal_server

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A server of our own, for it is stopped now and then."""
    with temporal_server(tmp_path_factory.mktemp("temporal"), MasterKeyring.of(MASTER)) as server:
        yield server


@dataclass
class Host:
    """An instance: its engine, and its guest worker's process."""

    temporal: TemporalServer
    instance_id: UUID
    engine: Any
    dialect: Dialect
    folder: Path
    address: str
    process: "subprocess.Popen[str] | None" = None

    @property
    def accounts(self) -> Any:
        """The driver itself, to see what is true."""
        return self.engine.accounts

    def start(self) -> None:
        """Start the guest worker; return when it polls."""
        command = [sys.executable, "-m", "tests.accounts.guest_process", self.temporal.address, str(self.instance_id),
                   self.dialect.manager, str(self.folder)]  # fmt: skip
        with (self.folder / "guest.log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "polls\n", (self.folder / "guest.log").read_text()[-3000:]

    def send(self, number: int) -> None:
        """Send the guest worker a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End the guest worker; as its server's init does, kill it after ten seconds."""
        if self.process is None:
            return
        self.send(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    async def guests(self, seconds: float = 8) -> ShortCalls:
        """As the API asks, for one request."""
        identity = Identity(user_id="u", project_id="p", roles=())
        context = RequestContext(identity, False, f"req-{uuid4()}", "http://test")
        instance: Any = SimpleNamespace(id=self.instance_id, name="db", status="ACTIVE", operating_status="HEALTHY",
                                        manager=self.dialect.manager, datastore=self.dialect.manager)  # fmt: skip
        return ShortCalls(await self.temporal.client(), context, instance, self.box, seconds, Call(context.request_id))

    @property
    def box(self) -> SecretBox:
        """Seals for the guest."""
        return SecretBox(MasterKeyring.of(MASTER), self.instance_id)

    def user(self, name: str, *databases: str, password: str = "secret") -> NewUser:
        """A user to create."""
        return NewUser(name=name, password=self.box.seal(password), databases=databases)

    def make(self, name: str, *databases: str) -> None:
        """Create a user, by the driver."""
        self.accounts.create_user(PlainUser(UserName(name=name), "secret", databases))

    def can_connect(self, user: str, password: str, database: str) -> bool:
        """Whether the engine lets a user in."""
        try:
            self.dialect.connect(self.address, user, password, database).close()
        except self.dialect.refused:
            return False
        return True

    def count(self, prefix: str) -> tuple[int, int]:
        """How many databases and users there are whose name starts so, asked by SQL."""
        with closing(self.administer()) as connection:
            questions = (self.dialect.databases_named, self.dialect.accounts_named)
            asked = [self.dialect.ask(connection, each.format(prefix)) for each in questions]
        return asked[0][0][0], asked[1][0][0]

    def administer(self) -> Any:
        """The administrator's connection."""
        secret = self.folder / "state/os_admin"
        return self.dialect.administer(self.folder / "data", secret.read_text() if secret.exists() else "")


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, temporal: TemporalServer) -> Iterator[Host]:
    """One engine, started."""
    manager = request.param
    folder = Path(tempfile.mkdtemp(prefix=f"coffer-{manager}-"))
    folder.chmod(0o755)
    address = loopback()
    driver = new_engine(manager, folder, address)
    try:
        yield Host(temporal, uuid4(), driver, DIALECTS[manager], folder, address)
        driver.stop()
    finally:
        kill_below(folder)
        driver.end()
        shutil.rmtree(folder)


@pytest.fixture
def host(engine: Host) -> Iterator[Host]:
    """With a guest worker; without databases and users afterwards."""
    engine.start()
    yield engine
    engine.end(signal.SIGKILL)
    (engine.folder / "guest.log").unlink()
    for user in engine.accounts.list_users():
        engine.accounts.delete_user(UserName(name=user.name, host=user.host))
    for name in engine.accounts.list_databases():
        engine.accounts.delete_database(name)
