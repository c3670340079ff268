"""Runbook: watch one instance for as long as it lives."""

from datetime import timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from workflows.domain.fact import Fact
from workflows.domain.instance import HealthReport, OperatingStatus
from workflows.names import RECORDS, guest_queue
from workflows.ports.guest import Health, LastKnown, Watching
from workflows.ports.records import Records
from workflows.steps import PING, SURE, WATCH, GuestOf, Steps, ask_guest

ROUNDS = 50  # then continue as new: the history stays short
HOUR = 3600
BREATH = timedelta(seconds=30)
QUICK_NEWS = 5  # in a row: an engine that goes down and comes up; more is a guest that keeps us busy
BREATHES = "watch-breathes"  # patch of 0.2.0


class WatchOrder(Fact):
    """Which instance, and what was last known of it."""

    instance_id: UUID
    health: Health | None = None


@workflow.defn
class WatchInstance:
    """Keep the instance's operating status true. Never acts on the database itself."""

    def __init__(self) -> None:
        self._steps = Steps()

    @workflow.run
    async def run(self, order: WatchOrder) -> None:
        known, quick = order.health, 0
        for _ in range(ROUNDS):
            began = workflow.now()
            health = await self.look(order.instance_id, known)
            quick = quick + 1 if workflow.now() - began < BREATH else 0
            if health == known and quick:
                await workflow.sleep(BREATH)  # a guest that tells no news at once must not keep us busy
            if health != known:
                await self.report(order.instance_id, health)
            elif health is not None and health.operating_status is not OperatingStatus.ERROR:
                break  # an hour without news
            known = health
            if quick > QUICK_NEWS and workflow.patched(BREATHES):
                await workflow.sleep(BREATH)  # nor one that has news all the time
        workflow.continue_as_new(WatchOrder(instance_id=order.instance_id, health=known))

    async def look(self, instance_id: UUID, known: Health | None) -> Health:
        """Wait for news; silence counts only when a second, short question goes unanswered too."""
        patience = HOUR - workflow.random().randrange(HOUR // 10)  # jitter: guests must not all come back at once
        guest = GuestOf(self._steps, instance_id)
        question = LastKnown(health=known, seconds=patience)
        try:
            return await ask_guest(guest, WATCH, Watching.watch_health, question)
        except FailureError as error:
            if not isinstance(error, ActivityError):  # nonsense: not to be asked again at once
                await workflow.sleep(60)
        try:
            return await ask_guest(guest, PING, Watching.get_health)
        except FailureError:
            return _silent(known)

    async def report(self, instance_id: UUID, health: Health) -> None:
        """Have the records keep what was seen."""
        workflow.set_current_details(f"{health.operating_status.value} on {guest_queue(instance_id)}")
        seen = health.operating_status is not OperatingStatus.ERROR
        report = HealthReport(instance_id=instance_id, seen=seen, **health.model_dump())
        await self._steps.ask(RECORDS, SURE, Records.record_health, report)


def _silent(known: Health | None) -> Health:
    last = known or Health(operating_status=OperatingStatus.ERROR)
    return last.model_copy(update={"operating_status": OperatingStatus.ERROR})
