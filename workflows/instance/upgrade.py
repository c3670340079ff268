"""Runbook: have one instance run another version of its datastore."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.changes import UpgradeOrder, check_upgrade
from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind
from contract.domain.resources import ResourceKind
from contract.ports.images import ImageChoice, Images
from workflows.instance.rebuild import Reimaging, answers
from workflows.instance.reimage import furnish, image_for, known, put_on, start_again, version_for
from workflows.member import Member
from workflows.runbook import End


@workflow.defn
class UpgradeInstance(Reimaging):
    """End with the server on the version's image and the record saying so, or with both as they were.

    Only versions of one series are taken, whose data directories are the same, so there is a way back from each step.
    """

    kind = OperationKind.UPGRADE

    @workflow.run
    async def run(self, order: UpgradeOrder) -> str | None:
        return await self.operate(order, self.rebuild)

    async def open(self, order: UpgradeOrder) -> None:
        """Have version and image checked before the operation is admitted."""
        self.lock(order)
        try:
            facts = await known(order.instance_id)
            self._version = await version_for(facts, order.version)
            check_upgrade(facts, self._version)
            self._image_id = await image_for(self._version)
        except FailureError as error:
            self.refuse(error)
        await self.admit(order)

    @staticmethod
    async def settle(member: Member) -> End:
        """Run what the record says: the version before, unless the new one was known to run."""
        version = member.instance.version
        image_id = await member.cloud(Images.choose_image, ImageChoice(version=version))
        on = await member.cloud(Images.get_image_of, member.instance.current(ResourceKind.SERVER))
        if on == image_id and await answers(member):
            await furnish(member, version)
            await start_again(member)
        else:
            await put_on(member, image_id, version)
        return End(InstanceStatus.ACTIVE)
