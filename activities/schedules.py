"""The schedules of the sweeps: made or brought up to date when the activity worker starts."""

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

from workflows.names import RUNBOOKS, sweep_id
from workflows.sweep import Sweep, SweepOrder

SECONDS = {
    "settle_stale_operations": 20,
    "restart_missing_watches": 60,
    "sweep_leftovers": 300,
    "mirror_flavors": 60,
}


async def put_schedules(client: Client) -> None:
    """Make every schedule what this release says; whoever starts second finds them made."""
    for verb, seconds in SECONDS.items():
        schedule_id = sweep_id(verb)
        schedule = _schedule(verb, seconds)
        try:
            await client.create_schedule(schedule_id, schedule, trigger_immediately=True)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(schedule_id).update(_replacing(schedule))


def _replacing(schedule: Schedule) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    return lambda _: ScheduleUpdate(schedule=schedule)


def _schedule(verb: str, seconds: int) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            Sweep.run,
            SweepOrder(verb=verb),
            id=sweep_id(verb),
            task_queue=RUNBOOKS,
            static_summary=verb.replace("_", " "),
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=seconds))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)),
    )
