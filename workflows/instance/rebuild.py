"""Runbook: put the server of one instance on an image again; the data volume stays."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.changes import RebuildOrder
from contract.domain.instance import DatastoreVersion, InstanceStatus
from contract.domain.operation import OperationKind
from contract.ports.images import Images
from workflows.instance.reimage import and_then, furnish, image_for, known, put_on, start_again, stop
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import lost_fence


class Reimaging(Runbook):
    """A runbook that puts the server on an image, and back on the one before where that comes to no good.

    What is on the data volume is not changed, so there is a way back from each step. A guest that does not answer is no
    hindrance: it may be what is to be repaired; its engine recovers as after a power cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stopped = self._rebuilds = False
        self._before = self._image_id = ""
        self._version: DatastoreVersion

    async def rebuild(self) -> End:
        """Stop, rebuild, adopt, start."""
        member = self.member
        self._before = await member.cloud(Images.get_image_of, member.server_id)
        if await answers(member):
            self._stopped = True
            await stop(member)
        self._rebuilds = True
        await put_on(member, self._image_id, self._version)
        member.learn(version_id=self._version.id)
        return End(InstanceStatus.ACTIVE)

    async def give_up(self, error: BaseException) -> End:
        """Go back to the image that the server was on."""
        member = self.member
        try:
            if self._rebuilds:
                await put_on(member, self._before, member.instance.version, attempt=2)
            elif self._stopped:
                await start_again(member)
        except FailureError as second:
            if lost_fence(second):
                raise
            return End(InstanceStatus.ERROR, and_then(error, second))
        return End(InstanceStatus.ACTIVE)


@workflow.defn
class RebuildInstance(Reimaging):
    """End with a new root disk and a new guest that adopts the data, or on the image that the server was on."""

    kind = OperationKind.REBUILD

    @workflow.run
    async def run(self, order: RebuildOrder) -> str | None:
        return await self.operate(order, self.rebuild)

    async def open(self, order: RebuildOrder) -> None:
        """Have the image checked before the operation is admitted."""
        self.lock(order)
        try:
            facts = await known(order.instance_id)
            self._version, self._image_id = facts.version, await image_for(facts.version, order.image)
        except FailureError as error:
            self.refuse(error)
        await self.admit(order)

    @staticmethod
    async def settle(member: Member) -> End:
        """Run the engine on the image that the server is on; where its guest is not heard, with a new one."""
        image_id = await member.cloud(Images.get_image_of, member.server_id)
        if await answers(member):
            await furnish(member, member.instance.version)
            await start_again(member)
        else:
            await put_on(member, image_id, member.instance.version)
        return End(InstanceStatus.ACTIVE)


async def answers(member: Member) -> bool:
    """Whether the guest does."""
    try:
        await member.require_guest()
    except FailureError as error:
        if lost_fence(error):
            raise
        return False
    return True
