"""The port `Settings`: what a tenant has set of the engine."""

from temporalio import activity

from contract.ports.guest import EngineOrder
from contract.ports.settings import Defaults, Settings, SettingsReport
from guest_worker.services import Services


class EngineSettings(Settings):
    """Changed by one operation at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn(no_thread_cancel_exception=True)
    def change_settings(self, order: EngineOrder) -> SettingsReport:
        configuration = self._services.configuration
        with self._services.changing_engine(order):
            configuration.change(self._services.settings.memory_mib or order.memory_mib, order.settings)
            return SettingsReport(restart_required=configuration.restart_required)

    @activity.defn
    def get_defaults(self) -> Defaults:
        return Defaults(settings=self._services.configuration.defaults())
