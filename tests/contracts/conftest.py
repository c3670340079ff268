"""The engines under test. A suite that takes `case` or `app` is asked of every engine."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.errors import Busy, NotFound
from guest_worker.datastores.base import PlainUser
from tests.contracts.engines import DIALECTS, ENGINES, new_engine
from tests.contracts.tables import Dialect
from tests.machine import kill_below, loopback, processes_below

AMY = UserName(name="amy")
BOB = UserName(name="bob")
PASSWORD = "pass word'\"`\\1"


@dataclass
class Case:
    """An engine under test."""

    engine: Any
    dialect: Dialect
    folder: Path
    address: str

    @property
    def accounts(self) -> Any:
        """The driver's accounts."""
        return self.engine.accounts

    def connect(self, user: str = "amy", password: str = PASSWORD, database: str = "app") -> Any:
        """As a tenant, by TCP."""
        return self.dialect.connect(self.address, user, password, database)

    def administer(self, database: str = "") -> Any:
        """As the administrator, to see what is true."""
        return self.dialect.administer(self.folder / "data", self.secret, database)

    @property
    def secret(self) -> str:
        """The administrator's password; empty where it has none."""
        path = self.folder / "state/os_admin"
        return path.read_text() if path.exists() else ""

    def ask(self, connection: Any, question: str) -> list[tuple[Any, ...]]:
        """Rows."""
        return self.dialect.ask(connection, question)

    def run(self, user: str, *statements: str, database: str = "app", password: str = PASSWORD) -> None:
        """Do statements as a tenant's user, in a session that ends afterwards."""
        with closing(self.connect(user, password, database)) as connection:
            for statement in statements:
                self.ask(connection, statement)

    def owned_by_administrator(self) -> dict[str, list[str]]:
        """What the administrator owns in tenants' databases, by database."""
        found = {}
        for database in self.accounts.list_databases():
            with closing(self.administer(database)) as connection:
                found[database] = self.dialect.owned_by_administrator(connection)
        return {database: names for database, names in found.items() if names}

    def powers(self, user: str) -> list[str]:
        """Rights of a user beyond databases."""
        with closing(self.administer()) as connection:
            return self.dialect.powers(connection, user)


@pytest.fixture(scope="module")
def engines() -> Iterator[Callable[[str], Case]]:
    """One engine of each kind for a module, started when it is asked for first."""
    with ExitStack() as running:
        yield cache(lambda manager: running.enter_context(_running(manager)))


@pytest.fixture(params=ENGINES)
def case(request: pytest.FixtureRequest, engines: Callable[[str], Case]) -> Case:
    """One engine, initialised, configured for 1 GiB and started."""
    return engines(request.param)


@contextmanager
def _running(manager: str) -> Iterator[Case]:
    folder = Path(tempfile.mkdtemp(prefix=f"coffer-{manager}-"))
    folder.chmod(0o755)
    address = loopback()
    engine = new_engine(manager, folder, address)
    try:
        yield Case(engine, DIALECTS[manager], folder, address)
        engine.stop()
        assert processes_below(folder) == []
    finally:
        kill_below(folder)
        engine.end()
        shutil.rmtree(folder)


@pytest.fixture
def app(case: Case) -> Iterator[Case]:
    """With a database `app` and a user `amy`, gone afterwards."""
    case.accounts.create_database(NewDatabase(name="app"))
    case.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
    yield case
    with suppress(NotFound):
        case.accounts.disable_root()
    for user in case.accounts.list_users():
        case.accounts.delete_user(UserName(name=user.name, host=user.host))
    for name in case.accounts.list_databases():
        in_the_end(partial(case.accounts.delete_database, name))


def in_the_end(work: Callable[[], None], seconds: float = 60) -> None:
    """Do it, again where the engine had no time: PostgreSQL drops a database with a checkpoint, which disks may hold up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Busy:
            if time.monotonic() > deadline:
                raise


@pytest.fixture
def shared(app: Case) -> Case:
    """With a second user `bob`, who was granted the same database."""
    app.accounts.create_user(PlainUser(BOB, PASSWORD, ("app",)))
    return app
