"""A creation of another release: one step more, and nothing that tells old runs from new ones."""

from temporalio import workflow

from contract.domain.instance import InstanceSpec
from contract.domain.operation import CreateOrder
from contract.domain.resources import ResourceKind
from contract.ports.cloud import ResourceOrder
from contract.ports.volumes import Volumes
from workflows.instance.create import CreateInstance


@workflow.defn(name="CreateInstance")
class SameCreation(CreateInstance):
    """Nothing is changed."""

    @workflow.run
    async def run(self, order: CreateOrder) -> None:
        await super().run(order)


@workflow.defn(name="CreateInstance")
class LongerCreation(CreateInstance):
    """Looks for the volume once more before the engine is set up."""

    @workflow.run
    async def run(self, order: CreateOrder) -> None:
        await super().run(order)

    async def furnish(self, order: ResourceOrder, spec: InstanceSpec, volume_id: str) -> None:
        """One more step, then as ever."""
        await self.member.cloud(Volumes.require_volume_available, self.member.part(ResourceKind.VOLUME))
        await super().furnish(order, spec, volume_id)
