"""Runbook: build one database instance."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.domain.datastores import DATASTORES
from workflows.domain.datastores.orders import check_spec
from workflows.domain.instance import CloudOffer, InstanceSpec, InstanceStatus
from workflows.domain.operation import Admission, CreateOrder, DeleteOrder, OperationKind, OperationState
from workflows.instance.delete import DeleteInstance
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
from workflows.runbook import GUESTS_ENROL, Runbook
from workflows.steps import PROMPT, Steps, lost_fence, sentence


@workflow.defn
class CreateInstance(Runbook):
    """Turn an order into a running database, or leave nothing behind.

    A failed creation ends in ERROR with a sentence, its resources gone and its quota back. A cancel or a deletion is
    heeded after any step; a deletion takes over under the same lock.
    """

    kind = OperationKind.CREATE

    def __init__(self) -> None:
        super().__init__()
        self._deletion: DeleteOrder | None = None

    @workflow.run
    async def run(self, order: CreateOrder) -> None:
        try:
            self.lock(order)
            spec, offer = await self.check(order)
            await self.admit(order, spec=spec, offer=offer)
        except FailureError:
            await self.all_answered()
            raise
        try:
            self.steps.may_stop = True
            await self.build(resources(order, spec, offer), spec)
            self.steps.may_stop = False
            await self.close(OperationState.DONE, InstanceStatus.ACTIVE)
        except (FailureError, asyncio.CancelledError) as error:
            await self.give_up(error)
        await self.all_answered()  # the last await: a deletion that is being admitted must not be lost
        if self._deletion is not None:
            workflow.continue_as_new(self._deletion, workflow=DeleteInstance.run)
        await self.finish()

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
        generation = await self.expect_guest() if workflow.patched(GUESTS_ENROL) else 0
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
        """Tear down and say why; or make way for the deletion that has taken over."""
        self.steps.may_stop = False
        await self.all_answered()
        if self._deletion is not None:
            return
        if lost_fence(error):  # somebody else works here now: touch nothing
            raise error
        try:
            reason = await self.undo(error)
            await self.close_failed(error, reason)
        except FailureError as lost:
            await self.all_answered()
            if self._deletion is None or not lost_fence(lost):
                raise

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

    def may_be_deleted(self) -> bool:
        """A creation always makes way."""
        return True

    async def accept_deletion(self, order: DeleteOrder) -> Admission:
        """Admit the deletion, stop building; the main method hands over when the running step has ended."""
        await self.answer()
        admission = await self.admission_of(order, OperationKind.DELETE)
        self._deletion = order
        self.steps.stop()
        return admission


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
