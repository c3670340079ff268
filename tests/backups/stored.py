"""Backups for runbook tests: a guest that stores little at once, and what lies in Swift and in the records of it.

What is stored are real objects with a real manifest, through a real ticket; what an engine's tools do is tested with them.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from temporalio import activity

from api.settings import ApiSettings
from api.swift.backups import BackupContainers
from api.swift.containers import Account
from contract.domain.backups import BackupPlace, NewBackup
from contract.domain.changes import BackUpOrder
from contract.domain.errors import EngineFailed
from contract.domain.instance import InstanceSpec
from contract.domain.manifest import MANIFEST, Manifest, StoredChunk, chunk_name
from contract.domain.operation import Caller, CreateOrder
from contract.names import RUNBOOKS
from contract.ports.backup_records import DeleteBackupOrder, backup_lock_id
from contract.ports.backups import BackupOrder, BackupReport, Backups, RestoreOrder
from contract.ports.guest import GuestInfo
from guest_worker.objects import open_store
from guest_worker.services import Services
from tests.runbooks.world import PROJECT, World, about
from workflows.backup import DeleteBackup
from workflows.instance.back_up import BackUpInstance

CHUNKS = (b"one" * 1000, b"two" * 1000, b"three")


class StandInBackups(Backups):
    """Stores the same always; restores the data directory that creations of these tests have."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    async def back_up(self, order: BackupOrder) -> BackupReport:
        return await asyncio.to_thread(self._back_up, order)

    @activity.defn
    async def restore_data(self, order: RestoreOrder) -> GuestInfo:
        return await asyncio.to_thread(self._restore, order)

    def _back_up(self, order: BackupOrder) -> BackupReport:
        store, now = open_store(order.ticket, self._services.box), datetime.now(UTC)
        told = []
        for number, each in enumerate(CHUNKS, 1):
            store.put(chunk_name(number), each)
            md5 = hashlib.md5(each, usedforsecurity=False).hexdigest()
            told.append(StoredChunk(size=len(each), sha256=hashlib.sha256(each).hexdigest(), md5=md5))
        manifest = Manifest(instance_id=UUID(order.ticket.prefix.split("/")[0]), backup_id=order.backup_id,
                            datastore="postgresql", series="15", engine_version="15", size_bytes=2**20, began=now,
                            ended=now, key_id=order.key_id, attempt="00", chunks=tuple(told))  # fmt: skip
        content = manifest.sealed(bytes.fromhex(self._services.box.open(order.key))).model_dump_json().encode()
        store.put(MANIFEST, content)
        return BackupReport(size_bytes=2**20, stored_bytes=sum(map(len, CHUNKS)), chunks=len(CHUNKS),
                            checksum=hashlib.sha256(content).hexdigest(), engine_version="15")  # fmt: skip

    def _restore(self, order: RestoreOrder) -> GuestInfo:
        (source,) = order.chain
        store = open_store(source.ticket, self._services.box)
        content = store.get(MANIFEST)
        if hashlib.sha256(content).hexdigest() != source.checksum:
            raise EngineFailed("this is another manifest")
        key = bytes.fromhex(self._services.box.open(source.key))
        if not Manifest.model_validate_json(content).is_sealed_with(key):
            raise EngineFailed("this is another key")
        self._services.datastore.initialise()
        return GuestInfo(guest_version="0", engine_version="15")


@dataclass
class Storage:
    """A tenant's container, and what these tests ask about it."""

    world: World
    place: BackupPlace
    token: str

    @classmethod
    async def prepared(cls, world: World) -> "Storage":
        """A container of its own in project demo."""
        token, project = world.stack.token("demo")
        account = Account(f"http://127.0.0.1:{world.stack.settings.swift_port}/v1/AUTH_{project}", token)
        async with httpx.AsyncClient(timeout=20) as http:
            made = BackupContainers(ApiSettings(), world.server.keyring, http)
            return cls(world, await made.prepare(account, f"of-runbooks-{uuid4()}"), token)

    def names(self) -> list[str]:
        """All objects of the container."""
        answer = httpx.get(self.place.container_url, headers={"X-Auth-Token": self.token}, timeout=20)
        return sorted(answer.text.split())

    def order(self, instance_id: UUID) -> BackUpOrder:
        """An order for a backup."""
        return BackUpOrder(backup=NewBackup(id=uuid4(), name="b", place=self.place), **about(instance_id))

    async def start(self, instance_id: UUID) -> tuple[UUID, Any]:
        """Start a backup; its id and its run."""
        order = self.order(instance_id)
        return order.backup.id, await self.world.run(BackUpInstance, order)

    async def made(self, instance_id: UUID) -> UUID:
        """A backup that is complete."""
        backup_id, run = await self.start(instance_id)
        assert await run.result() is None
        assert self.row(backup_id)["status"] == "COMPLETED"
        return backup_id

    def row(self, backup_id: UUID) -> dict[str, Any]:
        """What the records have of a backup."""
        columns = ("status", "reason", "key_id", "checksum", "size_bytes", "deleting")
        rows = self.world.stack.sql(f"SELECT {', '.join(columns)} FROM backups WHERE id = %s", backup_id,
                                    database=self.world.database)  # fmt: skip
        return dict(zip(columns, rows[0], strict=True)) if rows else {}

    def restoring(self, backup_id: UUID, **more: Any) -> CreateOrder:
        """An order for an instance with its data."""
        spec = InstanceSpec(
            name="db", datastore="postgresql", flavor="m1.tiny", volume_gib=1, backup_id=backup_id, **more
        )
        return CreateOrder(**about(uuid4()), spec=spec)

    async def delete(self, backup_id: UUID, project: str = PROJECT) -> Any:
        """Start its deletion."""
        order = DeleteBackupOrder(id=backup_id, caller=Caller(project_id=project))
        return await self.world.client.start_workflow(
            DeleteBackup.run, order, id=backup_lock_id(backup_id), task_queue=RUNBOOKS
        )
