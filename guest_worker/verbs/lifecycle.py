"""The port `Lifecycle`: building and running the engine."""

import asyncio
import sys
from contextlib import suppress

from temporalio import activity

from contract.domain.errors import EngineFailed, NotYet, Unsupported
from contract.ports.guest import EngineOrder, Fenced, FirstAccounts, GuestInfo, Lifecycle, VolumeOrder, VolumeReport
from guest_worker import __version__, disk
from guest_worker.host import CommandFailed
from guest_worker.reserve import space_of
from guest_worker.services import Services

GIB = 1024**3
ASK_EVERY = 0.5  # seconds between questions whether the volume is prepared


class EngineLifecycle(Lifecycle):
    """One step at a time, and only for the newest operation."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    async def prepare_volume(self, order: VolumeOrder) -> VolumeReport:
        while True:
            activity.heartbeat()
            try:
                return VolumeReport(**await asyncio.to_thread(self._prepare, order))
            except disk.NotDone as error:
                if activity.is_worker_shutdown():
                    raise NotYet(str(error)) from error
            await asyncio.sleep(ASK_EVERY)

    def _prepare(self, order: VolumeOrder) -> dict[str, int]:
        with self._services.changing_engine(order):
            sizes = self._prepared(order.volume_id)
        if sizes.pop("device_bytes", sys.maxsize) < order.size_gib * GIB:
            raise NotYet(f"the server does not see yet that its data volume has {order.size_gib} GiB")
        return sizes

    def _prepared(self, volume_id: str) -> dict[str, int]:
        paths = self._services.settings.paths
        if paths.mounted_at:
            space = space_of(paths.data)
            return {"total_bytes": space.total, "used_bytes": space.used}
        try:
            return disk.ask(paths, {"verb": "prepare", "volume_id": volume_id})
        except (disk.DiskRefused, CommandFailed) as error:
            if disk.IN_USE in str(error):
                raise Unsupported(str(error)) from error
            raise EngineFailed(f"the data volume could not be prepared: {error}") from error
        except OSError as error:
            raise NotYet(f"the disk process does not answer: {error}") from error

    @activity.defn
    def initialise_datastore(self, order: EngineOrder) -> None:
        with self._services.changing_engine(order):
            if order.adopts:
                self._services.datastore.restore_data(self._services.version)
            if order.adopts and not self._services.datastore.has_data():
                raise EngineFailed("there is no database on the data volume; none was made")
            self._services.datastore.initialise()
            self._configure(order)

    @activity.defn
    def configure_datastore(self, order: EngineOrder) -> None:
        with self._services.changing_engine(order):
            self._configure(order)

    def _configure(self, order: EngineOrder) -> None:
        memory_mib = self._services.settings.memory_mib or order.memory_mib
        self._services.tls.write(order.tls)
        self._services.configuration.write(memory_mib, order.settings)

    @activity.defn
    def start_datastore(self, order: Fenced) -> GuestInfo:
        self._services.fences.admit(order)
        self._services.datastore.break_off_copy()  # who makes one has the lock
        with self._services.changing_engine(order):
            self._services.datastore.forget_data()  # from here on the data may be changed
            configuration = self._services.configuration
            configuration.try_again()
            self._services.supervisor.want(True)
            self._services.supervisor.start_engine()
            return GuestInfo(
                guest_version=__version__,
                engine_version=self._services.datastore.version(),
                restart_required=configuration.restart_required,
                refused=configuration.refused,
            )

    @activity.defn
    def stop_datastore(self, order: Fenced) -> None:
        with self._services.changing_engine(order):
            self._services.supervisor.want(False)  # from here on no account call begins
        with suppress(NotYet):  # one that does not end is broken off, and undone later
            self._services.calls.quiesce()
        with self._services.changing_engine(order):
            self._services.datastore.stop()

    @activity.defn
    def create_first_accounts(self, order: FirstAccounts) -> None:
        with self._services.calls.turn():
            self._services.fences.admit(order)
            for database in order.databases:
                self._services.accounts.create_database(database)
            for user in order.users:
                self._services.accounts.create_user(self._services.changes.plain(user))
