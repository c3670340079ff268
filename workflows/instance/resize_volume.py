"""Runbook: grow the data volume of one instance."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.changes import ResizeVolumeOrder
from contract.domain.errors import Unsupported
from contract.domain.instance import InstanceStatus
from contract.domain.operation import MemberRequest, OperationKind
from contract.domain.resources import ResourceKind
from contract.ports.guest import CallGate, Fenced, GateOrder, Lifecycle, VolumeOrder
from contract.ports.records import Watches
from contract.ports.volumes import VolumeGrowth, Volumes
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import GROWTH, lost_fence, sentence, type_of

REASON = "the volume of the instance is being grown; please try again when that has ended"


@workflow.defn
class ResizeVolume(Runbook):
    """End with a larger volume and file system, or with both as they were; the database serves all the time, where the
    kernel of its server can grow a file system that is in use.

    Asking Cinder is the point of no return, for a volume never shrinks: before it, a cancel leaves everything as it was;
    after it, whatever Cinder has made of it is what the instance has.
    """

    kind = OperationKind.RESIZE_VOLUME

    def __init__(self) -> None:
        super().__init__()
        self._asked = False

    @workflow.run
    async def run(self, order: ResizeVolumeOrder) -> str | None:
        return await self.operate(order, self.resize)

    async def open(self, order: ResizeVolumeOrder) -> None:
        """Have the records charge for the larger volume."""
        self._size = order.size_gib
        self.lock(order)
        await self.admit(order, MemberRequest(instance_id=order.instance_id, volume_gib=order.size_gib))

    async def resize(self) -> End:
        """Grow the volume, then its file system."""
        await self.member.require_guest()
        growth = VolumeGrowth(volume_id=volume_of(self.member), size_gib=self._size)
        self.steps.point_of_no_return()
        self._asked = True
        await self.member.cloud(Volumes.extend_volume, growth)
        size = await self.member.cloud(Volumes.require_volume_extended, growth)
        self.member.learn(volume_gib=size)
        await grow_file_system(self.member, size)
        return End(InstanceStatus.ACTIVE)

    async def give_up(self, error: BaseException) -> End:
        """See what Cinder has made of it, if it was asked."""
        return await self.settle(self.member) if self._asked else End(InstanceStatus.ACTIVE)

    @staticmethod
    async def settle(member: Member) -> End:
        """The instance has what Cinder says, its file system has the size of the volume, and the engine runs."""
        size = await member.cloud(Volumes.require_volume_settled, volume_of(member))
        member.learn(volume_gib=size)
        await member.records(Watches.start_watch, member.id)
        reason = None
        try:
            await grow_file_system(member, size)
        except FailureError as error:
            if lost_fence(error):
                raise
            reason = (f"the volume has {size} GiB now, but its file system was not grown: {sentence(error)}; a resize to a "
                      "larger size, or a boot of the server, grows it")  # fmt: skip
        await member.guest(Lifecycle.start_datastore, Fenced())
        return End(InstanceStatus.ACTIVE, reason)


def volume_of(member: Member) -> str:
    """The data volume."""
    return member.instance.current(ResourceKind.VOLUME)


async def grow_file_system(member: Member, size_gib: int) -> None:
    """Have the guest grow the file system to its device, as soon as that has the size."""
    order = VolumeOrder(volume_id=volume_of(member), size_gib=size_gib)
    try:
        await member.guest(Lifecycle.prepare_volume, order, GROWTH)
    except FailureError as error:
        if type_of(error) != Unsupported.__name__:
            raise
        await grow_while_stopped(member, order)


async def grow_while_stopped(member: Member, order: VolumeOrder) -> None:
    """Stop the engine for it; whatever becomes of it, the engine is started again."""
    await member.guest(CallGate.close_gate, GateOrder(reason=REASON))
    try:
        await member.guest(Lifecycle.stop_datastore, Fenced())
        await member.guest(Lifecycle.prepare_volume, order, GROWTH)
    finally:
        await member.guest(Lifecycle.start_datastore, Fenced())
    await member.guest(CallGate.open_gate, Fenced())
