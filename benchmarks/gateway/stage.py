"""A stage of our own: PostgreSQL with the records, Temporal, a gateway, and guests that are known to it."""

import asyncio
import contextlib
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from temporalio.client import Client
from temporalio.service import RPCError

from benchmarks.gateway.identities import Identity, enrol
from benchmarks.gateway.processes import Process, environment, free_port, module, running
from deploy import postgres, temporal
from deploy.secrets import make_secrets
from deploy.settings import StackSettings
from gateway import certificates
from gateway.__main__ import check
from gateway.settings import GatewaySettings
from records.__main__ import alembic_config
from workflows.codec import data_converter
from workflows.files import write_private
from workflows.keyring import MasterKeyring, Ring, branch_of, render


@dataclass
class Gateway:
    """The gateway's process, which may be killed and started."""

    settings: GatewaySettings
    environment: dict[str, str]
    log: Path
    _process: Process | None = None

    @property
    def process(self) -> Process:
        """The one that runs, or ran last."""
        assert self._process is not None
        return self._process

    @property
    def address(self) -> str:
        """As guests dial it."""
        return f"127.0.0.1:{self.settings.gateway_port}"

    @property
    def ca(self) -> str:
        """What guests believe it by (PEM)."""
        return self.settings.gateway_ca.read_text()

    def start(self) -> None:
        """Start it, and return when it serves."""
        self._process = Process(module("gateway"), self.log, self.environment)
        self._process.wait_until(lambda: check(self.settings) == 0, "the gateway")

    def end(self) -> None:
        """End it, if it was started."""
        if self._process is not None:
            self._process.end()


@dataclass
class Stage:
    """Where everything is."""

    folder: Path
    keyring: MasterKeyring
    temporal_address: str
    temporal: Process
    gateway: Gateway
    guests: list[Identity]

    async def client(self) -> Client:
        """A control-plane client."""
        return await Client.connect(
            self.temporal_address, namespace=temporal.NAMESPACE, data_converter=data_converter(self.keyring)
        )


@contextlib.contextmanager
def set_up(guests: int) -> Iterator[Stage]:
    """All of it, with so many enrolled guests; processes and folder are gone afterwards."""
    secret = secrets.token_bytes(32)
    with _folder() as folder, contextlib.ExitStack() as running_below:
        records = running_below.enter_context(_records(folder))
        server, address = running_below.enter_context(_temporal(folder))
        gateway = running_below.enter_context(_gateway(folder, secret, address, _url(records)))
        known = enrol(_dsn(records), guests)
        yield Stage(folder, MasterKeyring.of(secret), address, server, gateway, known)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="coffer-bench-"))
    folder.chmod(0o711)  # PostgreSQL runs as somebody else when we are root
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _records(folder: Path) -> Iterator[StackSettings]:
    settings = StackSettings(home=folder / "home", open_home=folder / "open", records_port=free_port())
    settings.home.mkdir(mode=0o700)
    make_secrets(settings)
    postgres.prepare(settings)
    user = settings.records_user
    who: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    server = Process(postgres.command(settings), folder / "postgres.log", environment(), **who)
    with running(server, signal.SIGINT):
        server.wait_until(lambda: _made(settings), "PostgreSQL")
        command.upgrade(alembic_config(_url(settings)), "head")
        yield settings


def _made(settings: StackSettings) -> bool:
    try:
        postgres.make_database(settings)
    except psycopg.OperationalError:
        return False
    return True


def _dsn(settings: StackSettings) -> str:
    return f"host=127.0.0.1 port={settings.records_port} user=coffer dbname=coffer"


def _url(settings: StackSettings) -> str:
    return f"postgresql+psycopg://coffer@127.0.0.1:{settings.records_port}/coffer"


@contextlib.contextmanager
def _temporal(folder: Path) -> Iterator[tuple[Process, str]]:
    port = free_port()
    words = temporal.command(_binary(), folder / "temporal.db", port=port, metrics_port=free_port(), ui=None)
    with running(Process(words, folder / "temporal.log", environment())) as server:
        address = f"127.0.0.1:{port}"
        server.wait_until(lambda: asyncio.run(_answers(address)), "Temporal")
        yield server, address


def _binary() -> str:
    try:
        return temporal.binary(Path(sys.executable))
    except FileNotFoundError:
        return temporal.binary(StackSettings().embedded_python)


async def _answers(address: str) -> bool:
    try:
        client = await Client.connect(address, namespace=temporal.NAMESPACE)
        await client.count_workflows()
    except (RuntimeError, RPCError):  # the port, and a moment later the namespace, are not there yet
        return False
    return True


@contextlib.contextmanager
def _gateway(folder: Path, secret: bytes, address: str, records_url: str) -> Iterator[Gateway]:
    files = folder / "gateway"
    certificates.make(files, ["127.0.0.1"])
    write_private(files / "guests.key", render(branch_of(Ring.of(secret)), "guests"))
    said: dict[str, Any] = {
        "temporal_address": address, "temporal_namespace": temporal.NAMESPACE, "records_url": records_url,
        "guest_key_file": files / "guests.key", "gateway_port": free_port(), "gateway_cert": files / "cert.pem",
        "gateway_key": files / "key.pem", "gateway_ca": files / "ca.pem",
    }  # fmt: skip
    settings = GatewaySettings(**said)
    told = environment(**{f"COFFER_{name.upper()}": str(value) for name, value in said.items()})
    gateway = Gateway(settings, told, files / "log")
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.end()
