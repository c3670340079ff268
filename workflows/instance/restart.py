"""Runbook: restart the database engine of one instance."""

from temporalio import workflow

from contract.domain.errors import EngineFailed
from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind, RestartOrder
from contract.ports.guest import Fenced, Lifecycle
from contract.ports.records import Watches
from workflows.member import Member
from workflows.runbook import End, Runbook


@workflow.defn
class RestartInstance(Runbook):
    """End with the engine running on its data.

    The stop is the point of no return: a cancel before it leaves everything as it was; after it, and whatever becomes of
    the stop, the engine is started.
    """

    kind = OperationKind.RESTART

    @workflow.run
    async def run(self, order: RestartOrder) -> str | None:
        return await self.operate(order, self.restart)

    async def restart(self) -> End:
        """Stop and start."""
        await self.member.require_guest()
        self.steps.point_of_no_return()
        try:
            await self.member.guest(Lifecycle.stop_datastore, Fenced())
        finally:
            engine = await self.member.guest(Lifecycle.start_datastore, Fenced())
        if engine.refused:
            raise EngineFailed(engine.refused)
        return End(InstanceStatus.ACTIVE)

    @staticmethod
    async def settle(member: Member) -> End:
        """The engine is to run."""
        await member.guest(Lifecycle.start_datastore, Fenced())
        await member.records(Watches.start_watch, member.id)
        return End(InstanceStatus.ACTIVE)
