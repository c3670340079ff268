"""Runbook: delete one instance."""

from temporalio import workflow

from contract.domain.instance import InstanceStatus
from contract.domain.operation import Admission, DeleteOrder, OperationKind
from workflows.instance.teardown import tear_down
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import sentence


@workflow.defn
class DeleteInstance(Runbook):
    """Leave nothing of an instance: server, volume, port, groups, quota.

    The admission is the point of no return: from there it only goes forward, whatever is cancelled. When patience ends
    the instance is in ERROR, the reason says what is left, and deleting again works.
    """

    kind = OperationKind.DELETE

    @workflow.run
    async def run(self, order: DeleteOrder) -> str | None:
        self.steps.quiet_at = order.quiet_at
        return await self.operate(order, self.delete_all)

    async def delete_all(self) -> End:
        """Tear down."""
        return await self.settle(self.member)

    @staticmethod
    async def settle(member: Member) -> End:
        """Complete it."""
        await tear_down(member)
        return End(None, deleted=True)

    async def give_up(self, error: BaseException) -> End:
        """Say what is left."""
        reason = f"not everything could be deleted: {sentence(error)}; delete the instance again"
        return End(InstanceStatus.ERROR, reason)

    async def accept_deletion(self, order: DeleteOrder) -> Admission:
        """Answer with the deletion that runs; where it has failed, begin a new one."""
        if self._failure is not None:
            return await super().accept_deletion(order)
        return await self.answer()
