"""Runbook: change the TLS of one instance."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.changes import ChangeTlsOrder, tls_wanted
from contract.domain.operation import OperationKind
from contract.domain.tls import TlsChange
from contract.ports.records import Watches
from contract.ports.tls import TlsOrder, TlsSettings
from workflows.instance.reimage import known
from workflows.member import Member
from workflows.runbook import End, Runbook


@workflow.defn
class ChangeTls(Runbook):
    """End with the mode and the certificate that were ordered, or with those of before. Nothing is stopped.

    The guest goes back by itself where the engine refuses them.
    """

    kind = OperationKind.CHANGE_TLS

    def __init__(self) -> None:
        super().__init__()
        self._guest_answered = False

    @workflow.run
    async def run(self, order: ChangeTlsOrder) -> str | None:
        return await self.operate(order, self.change)

    async def open(self, order: ChangeTlsOrder) -> None:
        """Have the order checked before it is admitted: nobody else changes anything meanwhile."""
        self.lock(order)
        try:
            self._wanted = tls_wanted(await known(order.instance_id), order)
        except FailureError as error:
            self.refuse(error)
        self._keeps = not order.rollback
        await self.admit(order)

    async def change(self) -> End:
        """Have the guest change it. After a rollback there is nothing more to go back to."""
        member = self.member
        await member.require_guest()
        self._guest_answered = True
        await member.guest(TlsSettings.change_tls, TlsOrder(tls=self._wanted))
        member.learn(tls=TlsChange(now=self._wanted, before=member.instance.tls if self._keeps else None))
        return End(None)

    async def give_up(self, error: BaseException) -> End:
        """Go back; a guest that was away from the beginning is not asked for anything."""
        return await self.settle(self.member) if self._guest_answered else End(None)

    @staticmethod
    async def settle(member: Member) -> End:
        """What the records say it has."""
        await member.guest(TlsSettings.change_tls, TlsOrder(tls=member.instance.tls))
        await member.records(Watches.start_watch, member.id)
        return End(None)
