"""Runbook: put right what no run takes care of any more; started by schedules."""

from temporalio import workflow

from workflows.domain.fact import Fact
from workflows.names import RECORDS
from workflows.steps import Patience

PATIENCE = Patience(attempts=2, attempt_seconds=60)


class SweepOrder(Fact):
    """Which verb of the port `Sweeps`."""

    verb: str


@workflow.defn
class Sweep:
    """Do one verb of the sweeps once; the next turn of the schedule does what this one could not."""

    @workflow.run
    async def run(self, order: SweepOrder) -> None:
        await workflow.execute_activity(
            order.verb, task_queue=RECORDS, summary=order.verb.replace("_", " "), **PATIENCE.options()
        )
