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
from benchmarks.gateway.processes import Process, environment, free_port, running
from contract.keys.keyring import MasterKeyring
from contract.wire.codec import data_converter
from deploy import postgres, temporal
from deploy.secrets import make_secrets
from deploy.settings import StackSettings
from records.__main__ import alembic_config
from tests.gateway_process import TestGateway, running_gateway


@dataclass
class Stage:
    """Where everything is."""

    folder: Path
    keyring: MasterKeyring
    temporal_address: str
    temporal: Process
    gateway: TestGateway
    guests: list[Identity]

    async def client(self) -> Client:
        """A control-plane client."""
        return await Client.connect(
            self.temporal_address, namespace=temporal.NAMESPACE, data_converter=data_converter(self.keyring)
        )


@contextlib.contextmanager
def set_up(guests: int) -> Iterator[Stage]:
    """All of it, with so many enrolled guests; processes and folder are gone afterwards."""
    keyring = MasterKeyring.of(secrets.token_bytes(32))
    with _folder() as folder, contextlib.ExitStack() as running_below:
        records = running_below.enter_context(_records(folder))
        server, address = running_below.enter_context(_temporal(folder))
        gateway = running_below.enter_context(
            running_gateway(
                folder / "gateway", keyring, temporal=address, records_url=_url(records), identity_seconds=5
            )
        )
        known = enrol(_dsn(records), guests)
        yield Stage(folder, keyring, address, server, gateway, known)


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
