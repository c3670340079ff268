"""Runbook: give one instance the settings of a configuration group, or of none."""

from temporalio import workflow

from contract.domain.configurations import Attachment
from contract.domain.operation import MemberRequest, OperationKind
from contract.domain.reconfiguring import ReconfigureOrder
from contract.ports.guest import EngineOrder
from contract.ports.records import Watches
from contract.ports.settings import Settings
from workflows.member import Member
from workflows.runbook import End, Runbook


@workflow.defn
class ReconfigureInstance(Runbook):
    """End with the settings in force, or waiting for a restart where they need one; or with those that it had.

    Nothing is stopped. The guest goes back by itself where the engine refuses a setting.
    """

    kind = OperationKind.RECONFIGURE

    def __init__(self) -> None:
        super().__init__()
        self._guest_answered = False

    @workflow.run
    async def run(self, order: ReconfigureOrder) -> str | None:
        return await self.operate(order, self.reconfigure)

    async def open(self, order: ReconfigureOrder) -> None:
        """The group is read as it is when the operation is admitted."""
        self.lock(order)
        self._attachment = None if order.refresh else Attachment(configuration_id=order.configuration_id)
        await self.admit(order, MemberRequest(instance_id=order.instance_id, attachment=self._attachment))

    async def reconfigure(self) -> End:
        """Have the guest change them."""
        member = self.member
        await member.require_guest()
        self._guest_answered = True
        report = await member.guest(Settings.change_settings, settings_of(member, wanted=True))
        group = member.wanted
        member.learn(
            attachment=self._attachment,
            configured=group.updated if group else None,
            restart_required=report.restart_required,
        )
        return End(None)

    async def give_up(self, error: BaseException) -> End:
        """Go back; a guest that was away from the beginning is not asked for anything."""
        return await self.settle(self.member) if self._guest_answered else End(None)

    @staticmethod
    async def settle(member: Member) -> End:
        """The settings that the records say it has."""
        report = await member.guest(Settings.change_settings, settings_of(member))
        member.learn(restart_required=report.restart_required)
        await member.records(Watches.start_watch, member.id)
        return End(None)


def settings_of(member: Member, *, wanted: bool = False) -> EngineOrder:
    """The settings that a member has, or that this operation is to give it; and its TLS."""
    group = member.wanted if wanted else member.instance.configuration
    settings = group.settings if group else {}
    return EngineOrder(memory_mib=member.instance.flavor.ram_mib, settings=settings, tls=member.instance.tls)
