"""A PostgreSQL for these tests alone, one database a module, and the records' verbs over it."""

import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command

from deploy import postgres
from deploy.secrets import make_secrets
from deploy.settings import StackSettings
from records.__main__ import alembic_config
from records.engine import AsyncEngine, connect
from records.reads import Reader
from records.settings import RecordsSettings
from tests.records.runbook_driver import Driver, seed_catalogue
from tests.temporal import free_port


class Server:
    """Where the server listens, and a way to ask it something as its superuser."""

    def __init__(self, settings: StackSettings) -> None:
        self.port = settings.records_port
        self.passfile = settings.secrets / "pgpass"

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database; the password comes from the file."""
        return f"postgresql+psycopg://coffer@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """A plain connection, each statement its own transaction."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="coffer", dbname=database, passfile=str(self.passfile),
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def make(self, database: str) -> str:
        """A new empty database; returns its URL."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}"'.encode())
        return self.url(database)

    def drop(self, database: str) -> None:
        """Forget a database, whoever still has a connection to it."""
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'.encode())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A private server: the product's own way to make one, in a folder and on a port of its own."""
    with tempfile.TemporaryDirectory(prefix="coffer-records-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        settings = StackSettings(
            home=folder / "home", open_home=folder / "open", records_port=free_port(), wait_for_disk=False
        )
        make_secrets(settings)
        postgres.prepare(settings)
        user = settings.records_user
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                postgres.command(settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/", user=user, group=user, extra_groups=[] if user else None, start_new_session=True,
            )  # fmt: skip
        try:
            server = Server(settings)
            _require_answer(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # as its supervisor ends it: sessions are cut off
            process.wait(timeout=30)


def _require_answer(server: Server, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        assert process.poll() is None, "the server ended at once"
        try:
            server.connect().close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server does not answer")


@pytest.fixture(scope="module")
def passfile(postgresql: Server) -> Iterator[Path]:
    """The password for this module alone: the tests of a stack have another file in this variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PGPASSWORD", raising=False)
        patch.setenv("PGPASSFILE", str(postgresql.passfile))
        yield postgresql.passfile


@pytest.fixture(scope="module")
def url(postgresql: Server, passfile: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the module's own, migrated."""
    name = request.module.__name__.rpartition(".")[2]
    made = postgresql.make(name)
    command.upgrade(alembic_config(made), "head")
    yield made
    postgresql.drop(name)


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Connections as our processes have them."""
    opened = connect(RecordsSettings(records_url=url))
    yield opened
    await opened.dispose()


@pytest.fixture
async def driver(engine: AsyncEngine) -> Driver:
    """The records' verbs, a catalogue, and nobody whose run has ended."""
    await seed_catalogue(engine)
    return Driver(engine)


@pytest.fixture
def reader(engine: AsyncEngine) -> Reader:
    """What the API reads with."""
    return Reader(engine, RecordsSettings().default_quotas())
