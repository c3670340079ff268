"""Runbook: give one instance another flavor."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.instance import Flavor, InstanceStatus
from contract.domain.operation import MemberRequest, OperationKind, ResizeFlavorOrder
from contract.names import CLOUD
from contract.ports.cloud import FlavorChange, FlavorRequest, Offers, Servers
from contract.ports.guest import CallGate, Fenced, GateOrder, Lifecycle
from contract.ports.records import Watches
from workflows.instance.reconfigure import settings_of
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import BOOT, PROMPT, Steps

REASON = "the instance is being given another flavor; please try again when that has ended"


@workflow.defn
class ResizeFlavor(Runbook):
    """End with the server on the new flavor and the engine sized for it, or with both as they were.

    Nova keeps the old server until the resize is confirmed, and that is done only when the engine serves on the new one: a
    failure or a cancel before goes back. The data volume moves along.
    """

    kind = OperationKind.RESIZE_FLAVOR

    def __init__(self) -> None:
        super().__init__()
        self._guest_answered = False

    @workflow.run
    async def run(self, order: ResizeFlavorOrder) -> str | None:
        return await self.operate(order, self.resize)

    async def open(self, order: ResizeFlavorOrder) -> None:
        """Have Nova say what the flavor is before the operation is admitted."""
        self.lock(order)
        try:
            self._flavor = await Steps().ask(CLOUD, PROMPT, Offers.check_flavor, FlavorRequest(flavor=order.flavor))
        except FailureError as error:
            self.refuse(error)
        await self.admit(order, MemberRequest(instance_id=order.instance_id, flavor=self._flavor))

    async def resize(self) -> End:
        """Stop, resize, start, confirm."""
        member, server_id = self.member, self.member.server_id
        await member.require_guest()
        self._guest_answered = True
        await stop_engine(member, REASON)
        await member.cloud(Servers.resize_server, FlavorChange(server_id=server_id, flavor_id=self._flavor.id))
        await member.cloud(Servers.require_server_resized, FlavorChange(server_id=server_id, flavor_id=self._flavor.id))
        await start_on(member, self._flavor)
        self.steps.point_of_no_return()
        await member.cloud(Servers.require_resize_confirmed, server_id)
        member.learn(flavor=self._flavor)
        return End(InstanceStatus.ACTIVE)

    async def give_up(self, error: BaseException) -> End:
        """Go back, whatever was reached; a guest that was away from the beginning is not asked for anything."""
        return await self.settle(self.member) if self._guest_answered else End(InstanceStatus.ACTIVE)

    @staticmethod
    async def settle(member: Member) -> End:
        """Revert what was not confirmed, and run the engine on the flavor that the server has then."""
        flavor = await member.cloud(Servers.require_resize_settled, member.server_id)
        await start_on(member, flavor)
        member.learn(flavor=flavor)
        await member.records(Watches.start_watch, member.id)
        return End(InstanceStatus.ACTIVE)


async def stop_engine(member: Member, reason: str) -> None:
    """Shut account calls out, with a reason that tenants read, and stop the engine cleanly."""
    await member.guest(CallGate.close_gate, GateOrder(reason=reason))
    await member.guest(Lifecycle.stop_datastore, Fenced())


async def start_on(member: Member, flavor: Flavor) -> None:
    """Size the engine for a flavor, run it and let account calls in; the guest answers as soon as its server has booted."""
    engine = settings_of(member).model_copy(update={"memory_mib": flavor.ram_mib})
    await member.guest(Lifecycle.configure_datastore, engine, BOOT)
    await member.guest(Lifecycle.start_datastore, Fenced())
    await member.guest(CallGate.open_gate, Fenced())
