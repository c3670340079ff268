"""The schedules of the sweeps: they start the run of each sweep, again where somebody has ended it.

Made or brought up to date when the activity worker starts.
"""

from collections.abc import Callable
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from activities.sweeps import SECONDS
from contract.names import RUNBOOKS, sweep_id
from contract.ports.records import SweepOrder
from contract.wire.clear_text import ClearText
from workflows.sweep import Sweep

LOOK = timedelta(seconds=30)  # at whether the run is still there


async def put_schedules(client: Client) -> None:
    """Make every schedule what this release says; whoever starts second finds them made."""
    for verb in SECONDS:
        schedule_id = sweep_id(verb)
        schedule = _schedule(verb)
        try:
            await client.create_schedule(schedule_id, schedule, trigger_immediately=True)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(schedule_id).update(_replacing(schedule))


def _replacing(schedule: Schedule) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    return lambda _: ScheduleUpdate(schedule=schedule)


def _schedule(verb: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            Sweep.run,
            SweepOrder(verb=verb),
            id=sweep_id(verb),
            task_queue=RUNBOOKS,
            static_summary=ClearText(verb.replace("_", " ")),
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=LOOK)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)),
    )
