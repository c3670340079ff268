"""Runbook: build one database instance."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.backups import BackupFacts
from contract.domain.datastores import DATASTORES
from contract.domain.datastores.orders import check_spec
from contract.domain.errors import BadRequest, EngineFailed
from contract.domain.instance import CloudOffer, InstanceSpec, InstanceStatus
from contract.domain.operation import CreateOrder, MemberRequest, OperationKind
from contract.domain.resources import ResourceKind
from contract.names import CLOUD, RECORDS
from contract.ports.backup_objects import BackupAccessOrder, BackupObjects
from contract.ports.backups import Backups, BackupSource, RestoreOrder
from contract.ports.cloud import (
    FloatingIpOrder,
    Networks,
    OfferRequest,
    Offers,
    Port,
    ResourceOrder,
    ServerOrder,
    Servers,
)
from contract.ports.guest import Fenced, FirstAccounts, Lifecycle, VolumeOrder
from contract.ports.identities import GuestExpectation, Identities
from contract.ports.records import Records, Watches
from contract.ports.tickets import Right
from contract.ports.volumes import NewVolume, Volumes
from workflows.instance.reconfigure import settings_of
from workflows.instance.teardown import tear_down
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import JOB, PROMPT, VOLUME, Steps, lost_fence, sentence


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
        """Have the order checked before it is admitted. Passwords stay here: only the guest gets them."""
        self.lock(order)
        self._spec = await self.check(order)
        bare = self._spec.without_accounts()
        offer = await self.offer(OfferRequest(project_id=order.caller.project_id, spec=bare))
        self._order_of_resources = resources(order, bare, offer)
        await self.admit(order, MemberRequest(instance_id=order.instance_id, spec=bare, offer=offer))

    async def create(self) -> End:
        """Build."""
        await self.build(self._order_of_resources, self._spec)
        return End(InstanceStatus.ACTIVE)

    async def check(self, order: CreateOrder) -> InstanceSpec:
        """Have the catalogue resolve what the order names, and its engine look at the first databases and users."""
        spec = order.spec
        try:
            if spec.version is None:
                version = await Steps().ask(RECORDS, PROMPT, Records.find_version, spec.without_accounts())
                spec = spec.model_copy(update={"version": version})
            assert spec.version is not None  # noqa: S101 - just found
            if spec.version.manager not in DATASTORES:
                raise BadRequest(f"there is no datastore manager {spec.version.manager}")
            check_spec(spec, DATASTORES[spec.version.manager].of(spec.version.number))
        except FailureError as error:
            self.refuse(error)
        return spec

    async def offer(self, request: OfferRequest) -> CloudOffer:
        """Have OpenStack resolve what the order names."""
        try:
            return await Steps().ask(CLOUD, PROMPT, Offers.check_order, request)
        except FailureError as error:
            self.refuse(error)

    async def build(self, order: ResourceOrder, spec: InstanceSpec) -> None:
        """The way from nothing to a database that serves."""
        member = self.member
        server_group_id = await member.cloud(Servers.create_server_group, order) if order.locality else None
        await member.cloud(Networks.create_security_group, order)
        port = await member.cloud(Networks.create_port, order)
        member.learn(member.part(ResourceKind.PORT).found(port.id), addresses=port.addresses)
        data = member.part(ResourceKind.VOLUME)
        await member.cloud(Volumes.create_volume, NewVolume(
            part=data, size_gib=order.volume_gib, volume_type=order.offer.volume_type,
            availability_zone=order.availability_zone, description=order.name,
        ))  # fmt: skip
        volume_id = await member.cloud(Volumes.require_volume_available, data)
        member.learn(data.found(volume_id))
        part = member.part(ResourceKind.SERVER)
        server = ServerOrder(
            part=part, resources=order, port_id=port.id, volume_id=volume_id, server_group_id=server_group_id
        )
        # before the server: its guest may knock as soon as it boots
        expectation = GuestExpectation(instance_id=member.id, operation_id=member.operation_id, fence=member.fence)
        generation = await member.records(Identities.expect_guest, expectation)
        await member.cloud(Servers.create_server, server.model_copy(update={"generation": generation}))
        member.learn(part.found(await member.cloud(Servers.require_server_active, part)))
        if order.access.is_public:
            await self.publish(order, port)
        await self.furnish(order, spec, volume_id)
        await member.records(Watches.start_watch, member.id)

    async def publish(self, order: ResourceOrder, port: Port) -> None:
        """Give the database an address that is reached from outside."""
        member = self.member
        public = await member.cloud(
            Networks.create_floating_ip, FloatingIpOrder(instance_id=order.instance_id, port_id=port.id)
        )
        member.learn(addresses=(*port.addresses, public))

    async def furnish(self, order: ResourceOrder, spec: InstanceSpec, volume_id: str) -> None:
        """What happens inside the server."""
        member, engine = self.member, settings_of(self.member)
        await member.guest(Lifecycle.prepare_volume, VolumeOrder(volume_id=volume_id), VOLUME)
        if member.restores is not None:
            await self.restore(member, member.restores)
            engine = engine.model_copy(update={"adopts": True})
        await member.guest(Lifecycle.initialise_datastore, engine, VOLUME)
        started = await member.guest(Lifecycle.start_datastore, Fenced())
        if started.refused:
            raise EngineFailed(started.refused)
        if spec.databases or spec.users:
            first = FirstAccounts(databases=spec.databases, users=spec.users)
            await member.guest(Lifecycle.create_first_accounts, first)

    async def restore(self, member: Member, backup: BackupFacts) -> None:
        """Give it the data of a backup, as its project may."""
        order = BackupAccessOrder(backup=backup, reader_id=member.id, right=Right.READ)
        access = await member.cloud(BackupObjects.open_backup, order)
        source = BackupSource(instance_id=backup.instance_id, backup_id=backup.id, ticket=access.ticket, key=access.key,
                              checksum=backup.checksum)  # fmt: skip
        await member.guest(Backups.restore_data, RestoreOrder(chain=(source,)), JOB)

    async def give_up(self, error: BaseException) -> End:
        """Leave nothing behind and say why, or say what is left."""
        reason = "the creation was cancelled" if isinstance(error, asyncio.CancelledError) else sentence(error)
        try:
            await tear_down(self.member)
        except FailureError as left:
            if lost_fence(left):
                raise
            reason = f"{reason}; not everything could be deleted: {sentence(left)}; delete the instance"
        return End(InstanceStatus.ERROR, reason)

    @staticmethod
    async def settle(member: Member) -> End:
        """Leave nothing behind."""
        await tear_down(member)
        return End(InstanceStatus.ERROR, "the creation was interrupted; delete the instance and create it again")


def resources(order: CreateOrder, spec: InstanceSpec, offer: CloudOffer) -> ResourceOrder:
    """What OpenStack is to build for an order."""
    assert spec.version is not None  # noqa: S101 - the check has resolved it
    return ResourceOrder(
        instance_id=order.instance_id,
        project_id=order.caller.project_id,
        name=spec.name,
        manager=spec.version.manager,
        datastore_version=spec.version.number,
        ports=DATASTORES[spec.version.manager].of(spec.version.number).ports,
        offer=offer,
        volume_gib=spec.volume_gib,
        access=spec.access,
        ip_address=spec.nic.ip_address if spec.nic else None,
        availability_zone=spec.availability_zone,
        locality=spec.locality,
    )
