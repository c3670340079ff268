"""Runbook: put right what no run takes care of any more. One run per sweep, which goes on for ever."""

from temporalio import workflow

from contract.names import RECORDS
from contract.ports.records import SweepOrder, Sweeps
from contract.wire.clear_text import ClearText
from workflows.steps import Patience

TURNS = 50  # of the activity: one at each restart of the worker, and each hour
# A turn that fails is done again soon, however often; the page of the run shows why.
PATIENCE = Patience(attempts=0, attempt_seconds=3900, interval_seconds=2, longest_seconds=30, heartbeat_seconds=15)


@workflow.defn
class Sweep:
    """Have the activity worker do one verb of the sweeps again and again."""

    @workflow.run
    async def run(self, order: SweepOrder) -> None:
        for _ in range(TURNS):
            await workflow.execute_activity(
                Sweeps.sweep.__name__, order, task_queue=RECORDS, summary=ClearText(order.verb.replace("_", " ")),
                **PATIENCE.options(),
            )  # fmt: skip
        workflow.continue_as_new(order)
