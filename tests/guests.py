"""A guest for runbook tests: the real guest worker and the real PostgreSQL driver, in this process.

Only the initialisation is a copy of a data directory that was made once, for speed; that driver passes the conformance
suite like the others.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.worker import Interceptor, Worker

from guest_worker.datastores.base import Surroundings
from guest_worker.datastores.postgresql import PostgreSQL
from guest_worker.guest import DatabaseGuest
from guest_worker.identity import Exchange
from guest_worker.membership import Membership
from guest_worker.settings import GuestSettings
from guest_worker.worker import build_guest, build_worker
from tests.elsewhere import Elsewhere, open_folder
from tests.gateway import TestGateway
from tests.machine import kill_below, loopback
from workflows.domain.guest import GuestBoot
from workflows.enrolment import ticket_for
from workflows.files import write_private
from workflows.keyring import MasterKeyring
from workflows.names import guest_queue


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
        self.membership: Membership | None = None

    async def start(
        self, gateway: TestGateway, keyring: MasterKeyring, interceptors: tuple[Interceptor, ...] = ()
    ) -> None:
        """Boot: enrol with the ticket of the first generation, and begin to poll."""
        boot = GuestBoot(instance_id=self.instance_id, gateway=gateway.address, ca=gateway.ca, namespace="coffer",
                         ticket=ticket_for(keyring, self.instance_id, 1), datastore="postgresql", version="15")  # fmt: skip
        write_private(self.settings.places.boot_file, boot.model_dump_json())
        exchange = Exchange(self.settings.places)
        self.membership = membership = Membership(self.settings, boot, lambda verb: getattr(exchange, verb)())
        self.guest = build_guest(membership, datastore=_driver(self.engine))
        self.guest.start()
        client = await membership.dial(await asyncio.to_thread(membership.join))
        self.worker = build_worker(client, self.guest, guest_queue(self.instance_id), interceptors)
        await self.worker.__aenter__()

    async def faint(self) -> None:
        """Stop polling; the engine goes on."""
        if self.worker is not None:
            await self.worker.__aexit__(None, None, None)
            self.worker = None

    async def end(self) -> list[int]:
        """Stop polling and end the engine; return the processes that were still there."""
        await self.faint()
        if self.guest is not None:
            self.guest.end()
        running = kill_below(self.folder)
        self.engine.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        return running


def _copied(around: Surroundings, template: Path) -> CopiedPostgreSQL:
    engine = CopiedPostgreSQL(around)
    engine.template = template
    return engine


def _driver(engine: Elsewhere) -> Any:
    return engine
