"""Runbook: put right what an operation that was ended from outside has left behind."""

from collections.abc import Awaitable, Callable
from typing import assert_never
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.errors import Refused
from contract.domain.instance import InstanceStatus
from contract.domain.kinds import KINDS, Needs
from contract.domain.operation import OperationKind, SettleOrder
from workflows.instance.back_up import BackUpInstance
from workflows.instance.change_access import ChangeAccess
from workflows.instance.change_tls import ChangeTls
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.migrate import MigrateServer
from workflows.instance.power import RebootServer, StartInstance, StopInstance
from workflows.instance.rebuild import RebuildInstance
from workflows.instance.reconfigure import ReconfigureInstance
from workflows.instance.resize_flavor import ResizeFlavor
from workflows.instance.resize_volume import ResizeVolume
from workflows.instance.restart import RestartInstance
from workflows.instance.upgrade import UpgradeInstance
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import lost_fence, sentence


@workflow.defn
class SettleInstance(Runbook):
    """Bring instances whose operation was interrupted to a state that their owner can go on from.

    What happens to each is declared by the runbook of the interrupted operation. Where that fails, the others are put right
    all the same.
    """

    kind = OperationKind.SETTLE

    def __init__(self) -> None:
        super().__init__()
        self._ends: dict[UUID, End] = {}

    @workflow.run
    async def run(self, order: SettleOrder) -> str | None:
        return await self.operate(order, self.put_right)

    async def put_right(self) -> End:
        """What the interrupted runbooks declare, one member after the other."""
        failures = []
        for each in self.members:
            try:
                self._ends[each.id] = await settling_of(kind_of(each))(each)
            except FailureError as error:
                if lost_fence(error):
                    raise
                failures.append(error)
                self._ends[each.id] = unsettled(each, sentence(error))
        if failures:
            raise failures[0]
        return End(None, next((each.reason for each in self._ends.values() if each.reason), None), others=self._ends)

    async def give_up(self, error: BaseException) -> End:
        """Each member as far as it came."""
        return End(None, others={each.id: unsettled(each, sentence(error)) for each in self.members} | self._ends)


def unsettled(member: Member, reason: str) -> End:
    """Without its server or volume an instance is of no use; with them the watch says how it is."""
    serves = KINDS[kind_of(member)].needs is Needs.SERVER
    return End(InstanceStatus.ACTIVE if serves else InstanceStatus.ERROR, reason)


def kind_of(member: Member) -> OperationKind:
    """The kind of the interrupted operation."""
    return member.interrupted or OperationKind.SETTLE


def settling_of(kind: OperationKind) -> Callable[[Member], Awaitable[End]]:  # noqa: C901 - a line for each kind
    """What the runbook of a kind declares; the type checker misses the kind that is forgotten here."""
    match kind:
        case OperationKind.CREATE:
            return CreateInstance.settle
        case OperationKind.DELETE:
            return DeleteInstance.settle
        case OperationKind.RESTART:
            return RestartInstance.settle
        case OperationKind.RESIZE_FLAVOR:
            return ResizeFlavor.settle
        case OperationKind.CHANGE_ACCESS:
            return ChangeAccess.settle
        case OperationKind.STOP:
            return StopInstance.settle
        case OperationKind.START:
            return StartInstance.settle
        case OperationKind.REBOOT:
            return RebootServer.settle
        case OperationKind.MIGRATE:
            return MigrateServer.settle
        case OperationKind.RECONFIGURE:
            return ReconfigureInstance.settle
        case OperationKind.RESIZE_VOLUME:
            return ResizeVolume.settle
        case OperationKind.REBUILD:
            return RebuildInstance.settle
        case OperationKind.UPGRADE:
            return UpgradeInstance.settle
        case OperationKind.CHANGE_TLS:
            return ChangeTls.settle
        case OperationKind.BACKUP:
            return BackUpInstance.settle
        case OperationKind.SETTLE:
            raise Refused("a settling that was interrupted passes on what it was to settle")
        case _:
            assert_never(kind)
