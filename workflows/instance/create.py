"""Runbook: build one database instance."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.domain.datastores import DATASTORES
from workflows.domain.datastores.orders import check_spec
from workflows.domain.instance import CloudOffer, InstanceSpec, InstanceStatus
from workflows.domain.operation import CreateOrder, OperationKind, OperationState
from workflows.instance.teardown import tear_down
from workflows.names import CLOUD, RECORDS
from workflows.ports.cloud import (
    FloatingIpOrder,
    Networks,
    OfferRequest,
    Offers,
    Port,
    ResourceOrder,
    ServerOrder,
    Servers,
    Volumes,
)
from workflows.ports.guest import EngineOrder, Fenced, FirstAccounts, Lifecycle, VolumeOrder
from workflows.ports.records import Records
from workflows.runbook import Runbook
from workflows.steps import PROMPT, Steps, lost_fence, sentence


@workflow.defn
class CreateInstance(Runbook):
    """Turn an order into a running database, or leave nothing behind.

    A failed creation ends in ERROR with a sentence, its resources gone and its quota back. A cancel ends it at the
    running step.
    """

    kind = OperationKind.CREATE

    @workflow.run
    async def run(self, order: CreateOrder) -> str | None:
        return await self.operate(order, self.create)

    async def open(self, order: CreateOrder) -> None:
        """Have the order checked before it is admitted."""
        self.lock(order)
        self._spec, self._offer = await self.check(order)
        self._order_of_resources = resources(order, self._spec, self._offer)
        await self.admit(order, spec=self._spec, offer=self._offer)

    async def create(self) -> None:
        """Build, and say so."""
        self.steps.may_stop = True
        await self.build(self._order_of_resources, self._spec)
        self.steps.may_stop = False
        await self.close(OperationState.DONE, InstanceStatus.ACTIVE)

    async def check(self, order: CreateOrder) -> tuple[InstanceSpec, CloudOffer]:
        """Have the catalogue and OpenStack resolve what the order names, before anything is touched."""
        spec = order.spec
        try:
            version = await Steps().ask(RECORDS, PROMPT, Records.find_version, spec)
            spec = spec.model_copy(update={"version": version})
            check_spec(spec, DATASTORES[version.manager].of(version.number))
            request = OfferRequest(project_id=order.caller.project_id, spec=spec)
            offer = await Steps().ask(CLOUD, PROMPT, Offers.check_order, request)
        except FailureError as error:
            self.refuse(error)
        return spec, offer

    async def build(self, order: ResourceOrder, spec: InstanceSpec) -> None:
        """The way from nothing to a database that serves."""
        server_group_id = await self.cloud(Servers.create_server_group, order) if order.locality else None
        await self.cloud(Networks.create_security_group, order)
        port = await self.cloud(Networks.create_port, order)
        await self.cloud(Volumes.create_volume, order)
        volume_id = await self.cloud(Volumes.require_volume_available, order.instance_id)
        self.learn(port_id=port.id, addresses=port.addresses, volume_id=volume_id)
        server = ServerOrder(resources=order, port_id=port.id, volume_id=volume_id, server_group_id=server_group_id)
        # before the server: its guest may knock as soon as it boots
        generation = await self.expect_guest()
        await self.cloud(Servers.create_server, server.model_copy(update={"generation": generation}))
        server_id = await self.cloud(Servers.require_server_active, order.instance_id)
        self.learn(server_id=server_id)
        if order.access.is_public:
            await self.publish(order, port)
        await self.furnish(order, spec, volume_id)
        await self.start_watch()

    async def publish(self, order: ResourceOrder, port: Port) -> None:
        """Give the database an address that is reached from outside."""
        public = await self.cloud(
            Networks.create_floating_ip, FloatingIpOrder(instance_id=order.instance_id, port_id=port.id)
        )
        self.learn(addresses=(*port.addresses, public))

    async def furnish(self, order: ResourceOrder, spec: InstanceSpec, volume_id: str) -> None:
        """What happens inside the server."""
        engine = EngineOrder(fence=self.fence, memory_mib=order.offer.flavor.ram_mib)
        await self.guest_at_boot(Lifecycle.prepare_volume, VolumeOrder(fence=self.fence, volume_id=volume_id))
        await self.guest(Lifecycle.initialise_datastore, engine)
        await self.guest(Lifecycle.configure_datastore, engine)
        await self.guest(Lifecycle.start_datastore, Fenced(fence=self.fence))
        if spec.databases or spec.users:
            await self.guest(
                Lifecycle.create_first_accounts,
                FirstAccounts(fence=self.fence, databases=spec.databases, users=spec.users),
            )

    async def give_up(self, error: BaseException) -> None:
        """Tear down and say why."""
        await self.close_failed(error, InstanceStatus.ERROR, await self.undo(error))

    async def undo(self, error: BaseException) -> str:
        """Leave nothing behind, or say what is left."""
        reason = "the creation was cancelled" if isinstance(error, asyncio.CancelledError) else sentence(error)
        try:
            await tear_down(self)
        except FailureError as left:
            if lost_fence(left):
                raise
            return f"{reason}; not everything could be deleted: {sentence(left)}; delete the instance"
        return reason


def resources(order: CreateOrder, spec: InstanceSpec, offer: CloudOffer) -> ResourceOrder:
    """What OpenStack is to build for an order."""
    assert spec.version is not None  # noqa: S101 - the check has resolved it
    return ResourceOrder(
        instance_id=order.instance_id,
        project_id=order.caller.project_id,
        name=spec.name,
        manager=spec.version.manager,
        datastore_version=spec.version.number,
        database_port=DATASTORES[spec.version.manager].port,
        offer=offer,
        volume_gib=spec.volume_gib,
        access=spec.access,
        ip_address=spec.nic.ip_address if spec.nic else None,
        availability_zone=spec.availability_zone,
        locality=spec.locality,
    )
