"""Runbook: move the server of one instance to another host."""

from temporalio import workflow

from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind
from contract.domain.servers import MigrateOrder, Migration
from contract.ports.cloud import Servers
from workflows.instance.resize_flavor import ResizeFlavor, start_on, stop_engine
from workflows.member import Member
from workflows.runbook import End, Runbook

REASON = "the instance is being moved to another host; please try again when that has ended"


@workflow.defn
class MigrateServer(Runbook):
    """End with the server on another host and its engine running, or with both as they were.

    To Nova a cold migration is a resize to the same flavor: the old server is kept until it is confirmed, and that is done
    only when the engine serves on the new host. A failure or a cancel before goes back.
    """

    kind = OperationKind.MIGRATE

    def __init__(self) -> None:
        super().__init__()
        self._guest_answered = False

    @workflow.run
    async def run(self, order: MigrateOrder) -> str | None:
        self._host = order.host
        return await self.operate(order, self.migrate)

    async def migrate(self) -> End:
        """Stop, move, start, confirm."""
        member, server_id = self.member, self.member.server_id
        await member.require_guest()
        self._guest_answered = True
        await stop_engine(member, REASON)
        await member.cloud(Servers.migrate_server, Migration(server_id=server_id, host=self._host))
        await member.cloud(Servers.require_server_migrated, server_id)
        await start_on(member, member.instance.flavor)
        self.steps.point_of_no_return()
        await member.cloud(Servers.require_resize_confirmed, server_id)
        return End(InstanceStatus.ACTIVE)

    async def give_up(self, error: BaseException) -> End:
        """Go back, whatever was reached; a guest that was away from the beginning is not asked for anything."""
        return await self.settle(self.member) if self._guest_answered else End(InstanceStatus.ACTIVE)

    @staticmethod
    async def settle(member: Member) -> End:
        """Revert what was not confirmed."""
        return await ResizeFlavor.settle(member)
