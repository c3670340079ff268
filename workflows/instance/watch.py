"""Runbook: watch one instance for as long as it lives."""

from datetime import timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from contract.domain.fact import Fact
from contract.domain.instance import GuestState, HealthReport, OperatingStatus, ServerState
from contract.names import CLOUD, RECORDS, guest_queue
from contract.ports.cloud import Attached, Servers
from contract.ports.guest import Health, LastKnown, Watching
from contract.ports.records import Records
from workflows.steps import LOOK, PING, SURE, WATCH, GuestOf, Steps, ask_guest

ROUNDS = 50  # then continue as new: the history stays short
HOUR = 3600
BREATH = timedelta(seconds=30)
REST = timedelta(seconds=8)  # short: a guest that is being stopped answers at once, and its silence is to be seen soon
QUICK_NEWS = 5  # in a row: an engine that goes down and comes up; more is a guest that keeps us busy


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
            if health is None:
                return
            quick = quick + 1 if workflow.now() - began < BREATH else 0
            if health == known and quick:
                await workflow.sleep(REST)  # a guest that tells no news at once must not keep us busy
            if health != known:
                if not await self.report(order.instance_id, health):
                    await workflow.sleep(REST)  # and say it again
                    continue
            elif health is not None and health.operating_status is not OperatingStatus.ERROR:
                break  # an hour without news
            known = health
            if quick > QUICK_NEWS:
                await workflow.sleep(BREATH)  # nor one that has news all the time
        workflow.continue_as_new(WatchOrder(instance_id=order.instance_id, health=known))

    async def look(self, instance_id: UUID, known: Health | None) -> Health | None:
        """Wait for news; silence counts only when a second, short question goes unanswered too.

        None: the records say that the instance is gone, so nobody needs to watch it.
        """
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
            return await self.silence(instance_id, known)

    async def silence(self, instance_id: UUID, known: Health | None) -> Health | None:
        """Say why a guest may be silent: Nova and Cinder know what became of its server."""
        try:
            state = await self._steps.ask(RECORDS, LOOK, Records.get_guest_state, instance_id)
            if not state.exists:
                return None
            reason = await self.why_silent(state)
        except FailureError:  # not known is not gone
            reason = "the guest does not answer, and nobody could say what became of its server"
        last = known or Health(operating_status=OperatingStatus.ERROR)
        return last.model_copy(update={"operating_status": OperatingStatus.ERROR, "reason": reason})

    async def why_silent(self, state: GuestState) -> str:
        """A sentence from what Nova and Cinder say."""
        if state.server_id is None:
            return why_silent(ServerState())
        attached = Attached(server_id=state.server_id, volume_id=state.volume_id)
        return why_silent(await self._steps.ask(CLOUD, LOOK, Servers.get_server_state, attached))

    async def report(self, instance_id: UUID, health: Health) -> bool:
        """Have the records keep what was seen; return whether they did."""
        workflow.set_current_details(f"{health.operating_status.value} on {guest_queue(instance_id)}")
        seen = health.operating_status is not OperatingStatus.ERROR
        report = HealthReport(instance_id=instance_id, seen=seen, **health.model_dump())
        return await self._steps.ask(RECORDS, SURE, Records.record_health, report) is not False


def why_silent(found: ServerState) -> str:
    """A sentence that the owner, or an operator, can act on."""
    if found.status is None:
        return "the server was deleted in Nova; only deleting the instance is left"
    if found.status == "SHUTOFF":
        return "the server was stopped in Nova (SHUTOFF); an operator must start it"
    if "REBOOT" in found.status:
        return "the server is being rebooted in Nova"
    if found.status in ("RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE"):
        return f"the server is being resized in Nova ({found.status})"
    if found.status != "ACTIVE":
        return f"the server is {found.status} in Nova; an operator must look at it"
    if found.volume_status is None:
        return "the data volume was deleted in Cinder; only deleting the instance is left"
    if found.volume_status != "in-use":
        return f"the data volume is {found.volume_status} in Cinder, not attached to the server; an operator must look at it"
    return "the guest does not answer, though its server is ACTIVE in Nova; the database may serve all the same"
