"""The port `Upgrading`: the engine's own upgrade, and the copy of the data before it."""

from temporalio import activity

from contract.domain.errors import EngineFailed
from contract.ports.guest import Fenced
from contract.ports.upgrading import UpgradeCheck, Upgrading
from guest_worker.services import Services


class EngineUpgrade(Upgrading):
    """Each verb may be broken off at any moment, and is then done again from its beginning."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    def check_upgrade(self, order: UpgradeCheck) -> None:
        with self._services.changing_engine(order):
            found = self._services.datastore.check_upgrade(order.version)
        if found:
            raise EngineFailed(f"the data cannot be taken to {order.version}: {'; '.join(found)}; nothing was stopped")

    @activity.defn
    def keep_data(self, order: Fenced) -> None:
        with self._services.changing_engine(order):
            self._require_stopped()
            self._services.datastore.keep_data(self._services.version)

    @activity.defn
    def upgrade_data(self, order: Fenced) -> str:
        with self._services.changing_engine(order):
            self._require_stopped()
            return self._services.datastore.upgrade_data()

    def _require_stopped(self) -> None:
        if self._services.supervisor.wanted:
            raise EngineFailed("the database runs: nothing was done to its data")
