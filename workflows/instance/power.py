"""Runbooks: stop, start and reboot the server of one instance."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind
from contract.domain.servers import PowerOrder
from contract.ports.cloud import Servers
from contract.ports.records import Watches
from workflows.instance.resize_flavor import start_on, stop_engine
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import lost_fence, sentence

STOPPING = "the instance is being stopped"
REBOOTING = "the instance is being rebooted; please try again when that has ended"


@workflow.defn
class StopInstance(Runbook):
    """End with the server off and its data kept; a restart starts it again.

    That Nova is asked is the point of no return. A failure or a cancel before it, and a server that does not stop, leave the
    instance running.
    """

    kind = OperationKind.STOP

    @workflow.run
    async def run(self, order: PowerOrder) -> str | None:
        return await self.operate(order, self.stop)

    async def stop(self) -> End:
        """Stop the engine, then the server; nobody watches it any more."""
        await self.member.records(Watches.end_watch, self.member.id)
        await stop_if_there(self.member, STOPPING)
        self.steps.point_of_no_return()
        await self.member.cloud(Servers.require_server_stopped, self.member.server_id)
        return End(InstanceStatus.SHUTDOWN)

    async def give_up(self, error: BaseException) -> End:
        """Run it again."""
        return await run_again(self.member)

    @staticmethod
    async def settle(member: Member) -> End:
        """Run it again: whoever wanted it stopped was not told that it is."""
        return await run_again(member)


@workflow.defn
class StartInstance(Runbook):
    """End with the engine running on a server that was stopped, or with the server off as it was."""

    kind = OperationKind.START

    @workflow.run
    async def run(self, order: PowerOrder) -> str | None:
        return await self.operate(order, self.start)

    async def start(self) -> End:
        """Start the server, then the engine."""
        return await run_again(self.member)

    async def give_up(self, error: BaseException) -> End:
        """Stop the server again; one that does not is stopped all the same, as far as its owner can see."""
        try:
            await self.member.cloud(Servers.require_server_stopped, self.member.server_id)
        except FailureError as left:
            if lost_fence(left):
                raise
            return End(InstanceStatus.SHUTDOWN, f"{sentence(error)}; it could not be stopped again: {sentence(left)}")
        return End(InstanceStatus.SHUTDOWN)

    @staticmethod
    async def settle(member: Member) -> End:
        """Run it."""
        return await run_again(member)


@workflow.defn
class RebootServer(Runbook):
    """End with the engine running on a server that was rebooted hard, as Nova does it.

    An engine whose guest answers is stopped first. That Nova is asked is the point of no return; after it, and whatever
    becomes of the reboot, the server and the engine are started.
    """

    kind = OperationKind.REBOOT

    @workflow.run
    async def run(self, order: PowerOrder) -> str | None:
        return await self.operate(order, self.reboot)

    async def reboot(self) -> End:
        """Stop the engine, reboot, start the engine."""
        await stop_if_there(self.member, REBOOTING)
        self.steps.point_of_no_return()
        await self.member.cloud(Servers.reboot_server, self.member.server_id)
        return await run_again(self.member)

    async def give_up(self, error: BaseException) -> End:
        """Run it again; where that fails, too, the watch says how it is."""
        try:
            return await run_again(self.member)
        except FailureError as left:
            if lost_fence(left):
                raise
            return End(InstanceStatus.ACTIVE, sentence(left))

    @staticmethod
    async def settle(member: Member) -> End:
        """Run it."""
        return await run_again(member)


async def stop_if_there(member: Member, reason: str) -> None:
    """Have the guest stop its engine; one that cannot, or does not answer, is stopped with its server."""
    try:
        await member.require_guest()
        await stop_engine(member, reason)
    except FailureError as error:
        if lost_fence(error):
            raise


async def run_again(member: Member) -> End:
    """Have the server run, the engine on it, and somebody watch."""
    await member.cloud(Servers.require_server_running, member.server_id)
    await start_on(member, member.instance.flavor)
    await member.records(Watches.start_watch, member.id)
    return End(InstanceStatus.ACTIVE)
