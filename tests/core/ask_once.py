"""The part of a runbook that talks to a guest, as a workflow of its own."""

from uuid import UUID

from temporalio import workflow

from contract.ports.guest import Health, Watching
from workflows.steps import GuestOf, Patience, Steps, ask_guest

ONCE = Patience(attempts=1, attempt_seconds=5, pickup_seconds=5)


@workflow.defn
class AskOnce:
    """Ask a guest for its health, once."""

    @workflow.run
    async def run(self, instance_id: UUID) -> Health:
        return await ask_guest(GuestOf(Steps(), instance_id), ONCE, Watching.get_health)
