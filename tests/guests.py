"""A guest for runbook tests: the real guest worker and the real PostgreSQL driver, in this process.

For speed, the initialisation is a copy of a data directory that was made once, and the engine waits for no disk; its
driver passes the conformance suite like the others.
"""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.worker import Interceptor, Worker

from contract.domain.errors import EngineFailed
from contract.domain.guest import GuestBoot
from contract.files import write_private
from contract.keys.enrolment import ticket_for
from contract.keys.keyring import MasterKeyring
from contract.names import guest_queue
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.postgresql.driver import PostgreSQL
from guest_worker.identity import EnrolmentClient
from guest_worker.services import Services
from guest_worker.session import GuestSession
from guest_worker.settings import GuestSettings
from guest_worker.worker import build_services, build_worker
from tests.driver_process import DriverProcess, open_folder
from tests.gateway_process import TestGateway
from tests.machine import kill_below, loopback

SERIES, FIRST = "SERIES", "15"


class CopiedPostgreSQL(PostgreSQL):
    """PostgreSQL whose data directory is copied instead of initialised, with its administrator's secret.

    It says that it is of the series that its server's image is for, and runs on data of that series alone.
    """

    template: Path
    series: str

    def initialise(self) -> None:
        """Copy, then move into place."""
        target = self.context.data / "postgresql"
        if target.exists():
            return
        self.context.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy(self.template / "state/os_admin", self.context.state / "os_admin")
        half = target.with_name("postgresql.half")
        shutil.rmtree(half, ignore_errors=True)
        command = ["cp", "-r", "--preserve=mode", "--reflink=auto", "--sparse=always"]
        subprocess.run([*command, str(self.template / "data/postgresql"), str(half)], check=True)
        half.rename(target)

    def start(self) -> None:
        """Only on data of its series: a file in the data directory says which."""
        if self._series() != self.version():
            raise EngineFailed(f"the data is of {self._series()}, which {self.version()} does not run on")
        super().start()

    def upgrade_data(self) -> str:
        """Make it data of this series, in a way that an end in between leaves neither."""
        mark = self.context.data / "postgresql" / SERIES
        mark.write_text("half")
        self.restore_administrator()
        super().start()
        self.stop()
        mark.write_text(self.series)
        return self.version()

    def version(self) -> str:
        """What it stands for: the tests have one PostgreSQL alone."""
        return self.series

    def _series(self) -> str:
        mark = self.context.data / "postgresql" / SERIES
        return mark.read_text() if mark.exists() else FIRST

    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Without waiting for the disk: a kill loses nothing, and a power cut is not what is tested."""
        super().configure(memory_mib, {"fsync": "off", "full_page_writes": "off", **settings})


def make_template() -> Path:
    """Initialise one data directory for all guests of a session; return its folder, which the caller removes."""
    folder = Path(tempfile.mkdtemp(prefix="coffer-template-"))
    folder.chmod(0o755)
    context = EngineContext(open_folder(folder / "data"), open_folder(folder / "state"))
    engine = DriverProcess(PostgreSQL, context)
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
        context = EngineContext(data, open_folder(self.folder / "state"), bind_address=self.address)
        self._context, self._template = context, template
        self.generation, self.series = 1, FIRST
        self._build_engine()
        self.settings = GuestSettings(root=self.folder / "root", volume_mounted_at=str(data), bind_address=self.address)
        self.services: Services | None = None
        self.worker: Worker | None = None
        self.session: GuestSession | None = None

    def _build_engine(self) -> None:
        self.engine = DriverProcess(_copied, self._context, self._template, self.series)
        self.engine.manager = PostgreSQL.manager  # type: ignore[attr-defined]

    async def start(
        self, gateway: TestGateway, keyring: MasterKeyring, interceptors: tuple[Interceptor, ...] = ()
    ) -> None:
        """Boot: enrol with the ticket of its generation, and begin to poll."""
        boot = GuestBoot(instance_id=self.instance_id, gateway=gateway.address, ca=gateway.ca, namespace="coffer",
                         ticket=ticket_for(keyring, self.instance_id, self.generation),
                         generation=self.generation, datastore="postgresql", version=self.series)  # fmt: skip
        write_private(self.settings.paths.boot_file, boot.model_dump_json())
        exchange = EnrolmentClient(self.settings.paths)
        self.session = session = GuestSession(self.settings, boot, lambda verb: getattr(exchange, verb)())
        self.services = build_services(session, datastore=_driver(self.engine))
        self.services.start()
        client = await session.dial(await asyncio.to_thread(session.join))
        self.worker = build_worker(client, self.services, guest_queue(self.instance_id), interceptors)
        await self.worker.__aenter__()

    async def faint(self) -> None:
        """Stop polling; the engine goes on."""
        if self.worker is not None:
            await self.worker.__aexit__(None, None, None)
            self.worker = None

    async def shut_down(self, generation: int, series: str) -> None:
        """What a rebuild of its server does: everything ends, and of its disks only the data volume is left."""
        await self.faint()
        if self.services is not None:
            self.services.end()
        kill_below(self.folder)
        self.engine.end()
        shutil.rmtree(self.folder / "root")
        shutil.rmtree(self.folder / "state")
        open_folder(self.folder / "state")
        self.generation, self.series = generation, series
        self._build_engine()

    async def end(self) -> list[int]:
        """Stop polling and end the engine; return the processes that were still there."""
        await self.faint()
        if self.services is not None:
            self.services.end()
        running = kill_below(self.folder)
        self.engine.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        return running


def _copied(context: EngineContext, template: Path, series: str) -> CopiedPostgreSQL:
    engine = CopiedPostgreSQL(context)
    engine.template, engine.series = template, series
    return engine


def _driver(engine: DriverProcess) -> Any:
    return engine
