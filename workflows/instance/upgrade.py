"""Runbook: have one instance run another version of its datastore."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.changes import UpgradeOrder, check_upgrade
from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind
from contract.ports.guest import Fenced, Lifecycle
from contract.ports.images import ImageChoice, Images
from contract.ports.records import Watches
from contract.ports.upgrading import UpgradeCheck, Upgrading
from workflows.instance.rebuild import Reimaging, answers
from workflows.instance.reimage import (
    adopt,
    boot_on,
    furnish,
    image_for,
    known,
    put_on,
    require_version,
    start_again,
    stop,
    version_for,
)
from workflows.member import Member
from workflows.runbook import End
from workflows.steps import VOLUME, lost_fence, sentence


@workflow.defn
class UpgradeInstance(Reimaging):
    """End with the server on the version's image and the record saying so, or with both as they were.

    Versions of one series have the same data directories, so there is a way back from each step. The data of another series
    is taken over by the new engine with nobody let in, after a copy was made, which the old guest puts back. When the
    records have the new version, there is no way back: from then on data may be written that the copy lacks.
    """

    kind = OperationKind.UPGRADE

    def __init__(self) -> None:
        super().__init__()
        self._is_new = False

    @workflow.run
    async def run(self, order: UpgradeOrder) -> str | None:
        return await self.operate(order, self.upgrade)

    async def upgrade(self) -> End:
        """Within a series the server is only put on another image."""
        if self._version.number == self.member.instance.version.number:
            return await self.rebuild()
        return await self.change_series()

    async def change_series(self) -> End:
        """Look, stop, copy, rebuild, have the data taken over, note it, start."""
        member, version = self.member, self._version
        self._before = await member.cloud(Images.get_image_of, member.server_id)
        await member.require_guest()  # an engine that was not stopped in order leaves what another series cannot read
        await member.guest(Upgrading.check_upgrade, UpgradeCheck(version=version.number))
        self._stopped = True
        await stop(member)
        await member.guest(Upgrading.keep_data, Fenced(), VOLUME)
        self._rebuilds = True
        await boot_on(member, self._image_id, version)
        await adopt(member)
        require_version(await member.guest(Upgrading.upgrade_data, Fenced(), VOLUME), version)
        self.steps.point_of_no_return()
        member.learn(version_id=version.id)
        await member.log.write()
        self._is_new = True
        await self.serve()
        return End(InstanceStatus.ACTIVE)

    async def serve(self) -> None:
        """Let everybody in."""
        require_version(
            (await self.member.guest(Lifecycle.start_datastore, Fenced())).engine_version or "", self._version
        )
        await self.member.records(Watches.start_watch, self.member.id)

    async def give_up(self, error: BaseException) -> End:
        """Go back; from the point of no return on, forward."""
        if not self._is_new:
            self.member.learn(version_id=self.member.instance.version.id)
            return await super().give_up(error)
        try:
            await self.serve()
        except FailureError as second:
            if lost_fence(second):
                raise
            reason = f"{sentence(second)}; the data is of {self._version.datastore} {self._version.number} now"
            return End(InstanceStatus.ERROR, f"{reason}; an administrator can rebuild the instance")
        return End(InstanceStatus.ACTIVE)

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
        on = await member.cloud(Images.get_image_of, member.server_id)
        if on == image_id and await answers(member):
            await furnish(member, version)
            await start_again(member)
        else:
            await put_on(member, image_id, version)
        return End(InstanceStatus.ACTIVE)
