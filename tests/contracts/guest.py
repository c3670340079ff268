"""A guest without its worker: its services, on a real engine, and its verbs done as the worker does them."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from temporalio.testing import ActivityEnvironment

from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.ports.guest import EngineOrder, Fenced, VolumeOrder
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import Datastore, EngineContext
from guest_worker.services import Services
from guest_worker.settings import GuestSettings
from guest_worker.verbs.lifecycle import EngineLifecycle
from tests.contracts.engines import copy_template, engine_context
from tests.driver_process import DriverProcess, open_folder
from tests.machine import kill_below, loopback, processes_below

Build = Callable[[str, EngineContext], Any]
BOX = SecretBox(MasterKeyring.of(b"m" * 32), uuid4())


def done(verb: Callable[..., Any], *order: Any, call: str = "") -> Any:
    """Do a verb, as the worker does; `call`: the id of a call that is sent again."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, activity_id=call or str(uuid4()))
    found = environment.run(verb, *order)
    return asyncio.run(found) if asyncio.iscoroutine(found) else found


@dataclass
class GuestParts:
    """One guest of an engine."""

    manager: str
    folder: Path
    address: str
    engine: Any
    services: Services

    @classmethod
    def on(cls, manager: str, folder: Path, address: str, build: Build = open_datastore) -> "GuestParts":
        """On what there is in a folder: a data volume, and perhaps a root disk."""
        if not (folder / "state").exists():
            open_folder(folder / "state")
        context = engine_context(manager, folder / "data", folder / "state", address)
        engine = DriverProcess(build, manager, context)
        engine.manager = manager  # type: ignore[attr-defined]
        settings = GuestSettings(root=folder / "root", volume_mounted_at=str(folder / "data"))
        return cls(manager, folder, address, engine, Services(settings, cast("Datastore", engine), BOX))

    def furnish(self, fence: int) -> None:
        """The steps of a runbook, from a blank server to an engine that serves; `services.start()` is done before."""
        lifecycle, order = EngineLifecycle(self.services), EngineOrder(fence=fence, memory_mib=1024)
        done(lifecycle.prepare_volume, VolumeOrder(fence=fence, volume_id="v"))
        done(lifecycle.initialise_datastore, order)
        done(lifecycle.start_datastore, Fenced(fence=fence))

    def lose_root_disk(self) -> "GuestParts":
        """The server is gone; another one has the same data volume, and nothing else of it."""
        self.services.end()
        self.engine.stop()
        self.engine.end()
        shutil.rmtree(self.folder / "state")
        shutil.rmtree(self.folder / "root")
        return GuestParts.on(self.manager, self.folder, self.address)

    def end(self) -> list[int]:
        """End all; return the processes that were still there after the engine was stopped."""
        self.services.end()
        try:
            self.engine.stop()
            return processes_below(self.folder)
        finally:
            kill_below(self.folder)
            self.engine.end()
            shutil.rmtree(self.folder)


@contextmanager
def a_guest(manager: str, build: Build = open_datastore) -> Iterator[GuestParts]:
    """A guest whose engine serves; `build` opens its driver."""
    folder = Path(tempfile.mkdtemp(prefix=f"coffer-{manager}-"))
    folder.chmod(0o755)
    copy_template(manager, folder)
    parts = GuestParts.on(manager, folder, loopback(), build)
    parts.services.start()
    try:
        parts.furnish(1)
        yield parts
    finally:
        left = parts.end()
    assert left == []
