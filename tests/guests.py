"""A guest for runbook tests: the real guest worker and the real PostgreSQL driver, in this process.

Only the initialisation is a copy of a data directory that was made once, for speed; that driver passes the conformance
suite like the others.
"""

import base64
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.worker import Interceptor, Worker

from guest_worker.datastores.base import Surroundings
from guest_worker.datastores.postgresql import PostgreSQL
from guest_worker.guest import DatabaseGuest
from guest_worker.settings import GuestSettings
from guest_worker.worker import Identity, build_guest, build_worker
from tests.elsewhere import Elsewhere, open_folder
from tests.machine import loopback, processes_below
from tests.temporal import TemporalServer
from workflows.domain.guest import GuestBoot
from workflows.names import guest_key_id


class CopiedPostgreSQL(PostgreSQL):
    """PostgreSQL whose data directory is copied instead of initialised, with its administrator's secret."""

    template: Path

    def initialise(self) -> None:
        """Copy, then move into place."""
        target = self.around.data / "postgresql"
        if target.exists():
            return
        self.around.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy(self.template / "state/os_admin", self.around.state / "os_admin")
        half = target.with_name("postgresql.half")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(self.template / "data/postgresql", half)
        half.rename(target)


def make_template() -> Path:
    """Initialise one data directory for all guests of a session; return its folder, which the caller removes."""
    folder = Path(tempfile.mkdtemp(prefix="coffer-template-"))
    folder.chmod(0o755)
    around = Surroundings(open_folder(folder / "data"), open_folder(folder / "state"))
    engine = Elsewhere(PostgreSQL, around)
    engine.initialise()
    engine.end()
    return folder


class TestGuest:
    """One guest: what would run in the server of an instance."""

    __test__ = False

    def __init__(self, instance_id: UUID, template: Path) -> None:
        self.instance_id = instance_id
        self.folder = Path(tempfile.mkdtemp(prefix="coffer-guest-"))
        self.folder.chmod(0o755)
        self.address = loopback()
        data = open_folder(self.folder / "data")
        around = Surroundings(data, open_folder(self.folder / "state"), bind_address=self.address)
        self.engine = Elsewhere(_copied, around, template)
        self.settings = GuestSettings(root=self.folder / "root", volume_mounted_at=str(data), bind_address=self.address)
        self.guest: DatabaseGuest | None = None
        self.worker: Worker | None = None

    async def start(self, server: TemporalServer, interceptors: tuple[Interceptor, ...] = ()) -> None:
        """Begin to poll."""
        key = server.keyring.key(guest_key_id(self.instance_id))
        boot = GuestBoot(instance_id=self.instance_id, gateway=server.address, namespace="coffer", datastore="postgresql",
                         payload_key=base64.b64encode(key).decode(), version="15")  # fmt: skip
        identity = Identity.of(boot)
        self.guest = build_guest(self.settings, identity, datastore=_driver(self.engine))
        self.guest.keeper.start()
        client = await server.guest_client(self.instance_id)
        self.worker = build_worker(client, identity, self.guest, interceptors)
        await self.worker.__aenter__()

    async def end(self) -> list[int]:
        """Stop polling and end the engine; return the processes that were still there."""
        if self.worker is not None:
            await self.worker.__aexit__(None, None, None)
        if self.guest is not None:
            self.guest.keeper.end()
        running = processes_below(self.folder)
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        self.engine.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        return running


def _copied(around: Surroundings, template: Path) -> CopiedPostgreSQL:
    engine = CopiedPostgreSQL(around)
    engine.template = template
    return engine


def _driver(engine: Elsewhere) -> Any:
    return engine
