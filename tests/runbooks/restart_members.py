"""A runbook on several members, as group operations will be: restart one after the other, and go on where one fails."""

from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.instance import InstanceStatus
from contract.domain.operation import GroupOrder, OperationKind
from contract.ports.guest import Fenced, Lifecycle
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import lost_fence, sentence


class RestartMembersOrder(GroupOrder):
    """Restart these."""


@workflow.defn
class RestartMembers(Runbook):
    """End with the engine of each member running on its data, or with that member in ERROR."""

    kind = OperationKind.RESTART

    def __init__(self) -> None:
        super().__init__()
        self._failed: dict[UUID, End] = {}

    @workflow.run
    async def run(self, order: RestartMembersOrder) -> str | None:
        return await self.operate(order, self.restart)

    async def restart(self) -> End:
        """One after the other."""
        self.steps.point_of_no_return()
        failures = []
        for each in self.members:
            try:
                await self.restart_one(each)
            except FailureError as error:
                if lost_fence(error):
                    raise
                failures.append(error)
                self._failed[each.id] = End(InstanceStatus.ERROR, sentence(error))
        if failures:
            raise failures[0]
        return End(InstanceStatus.ACTIVE)

    async def restart_one(self, member: Member) -> None:
        """Stop and start."""
        await member.require_guest()
        try:
            await member.guest(Lifecycle.stop_datastore, Fenced())
        finally:
            await member.guest(Lifecycle.start_datastore, Fenced())

    async def give_up(self, error: BaseException) -> End:
        """Each member as it came out."""
        return End(InstanceStatus.ACTIVE, others=self._failed)
