"""The port `TlsSettings`."""

from temporalio import activity

from contract.ports.tls import TlsOrder, TlsSettings
from guest_worker.services import Services


class TlsOfEngine(TlsSettings):
    """Changed by one operation at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn(no_thread_cancel_exception=True)
    def change_tls(self, order: TlsOrder) -> None:
        with self._services.changing_engine(order):
            self._services.tls.change(order.tls)
