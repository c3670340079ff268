"""A creation of another release: one step more, and nothing that tells old runs from new ones."""

from temporalio import workflow

from workflows.domain.instance import InstanceSpec
from workflows.domain.operation import CreateOrder
from workflows.instance.create import CreateInstance
from workflows.ports.cloud import ResourceOrder, Volumes


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
        await self.cloud(Volumes.require_volume_available, order.instance_id)
        await super().furnish(order, spec, volume_id)
