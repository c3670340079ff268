"""The port `CallGate`: shutting account calls out and letting them in again."""

from temporalio import activity

from contract.ports.guest import CallGate, Fenced, GateOrder
from guest_worker.services import Services


class AccountGate(CallGate):
    """The gate that account calls ask; lists and health do not."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    def close_gate(self, order: GateOrder) -> None:
        self._services.gate.close(order)
        self._services.calls.quiesce()

    @activity.defn
    def open_gate(self, order: Fenced) -> None:
        self._services.gate.open(order)
