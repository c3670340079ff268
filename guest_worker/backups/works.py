"""The jobs `back_up` and `restore_data`: an engine's tools at one end, the object store at the other."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import UUID

from contract.domain.errors import BadRequest, EngineFailed, Unsupported
from contract.domain.fact import Fact
from contract.domain.manifest import Manifest, StoredChunk
from contract.keys.sealing import NotOurs, SecretBox
from contract.ports.backups import BackupOrder, BackupReport, BackupSource, RestoreOrder
from contract.ports.guest import GuestInfo
from guest_worker import __version__, identity
from guest_worker.backups.piping import ToolLog, packed, unpacked
from guest_worker.backups.sealing import CHUNK_BYTES, KEY_BYTES, new_attempt
from guest_worker.backups.store import BackupStore
from guest_worker.datastores import open_datastore
from guest_worker.datastores.backup import EngineBackup
from guest_worker.datastores.base import Datastore
from guest_worker.datastores.context import engine_context
from guest_worker.job import Job, Progress, Work
from guest_worker.objects import open_store
from guest_worker.session import GuestSession
from guest_worker.settings import GuestSettings

Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class BackupWork:
    """Making and restoring backups of the engine on this machine. `folder`: for what its tools say."""

    instance_id: UUID
    series: str
    datastore: Datastore
    box: SecretBox
    folder: Path
    tell: Tell = lambda progress: None

    @property
    def engine(self) -> EngineBackup:
        """How this engine does it; Unsupported where it cannot."""
        found = self.datastore.backup
        if found is None:
            raise Unsupported(f"{self.datastore.manager} cannot be backed up")
        return found

    def _store(self, backup_id: UUID, order: BackupOrder | BackupSource) -> BackupStore:
        try:
            key = bytes.fromhex(self.box.open(order.key))
            objects = open_store(order.ticket, self.box)
        except (NotOurs, ValueError):
            raise BadRequest(f"the ticket or the key of backup {backup_id} is not for this guest") from None
        if len(key) != KEY_BYTES:
            raise BadRequest(f"the key of backup {backup_id} has {len(key)} bytes, not {KEY_BYTES}")
        return BackupStore(backup_id, objects, key)

    # -- making one --------------------------------------------------------------------------------------------------

    def back_up(self, order: BackupOrder) -> BackupReport:
        """Store all; the manifest last, when every program has ended well."""
        engine, store = self.engine, self._store(order.backup_id, order)
        if order.parent is not None:
            engine.require_increments()
        store.begin()
        began, attempt, log = datetime.now(UTC), new_attempt(), self._log()
        size, version = engine.size(), self.datastore.version()
        with engine.copying(order.parent.position if order.parent else "") as tool:
            with packed(self.datastore.context.engine, tool, log) as stream:
                chunks = tuple(self._stored(store, stream, attempt))
            position = engine.position(log.text)
        if not chunks:
            raise EngineFailed("the engine's tool wrote nothing")
        store.sweep(len(chunks))
        manifest = Manifest(
            instance_id=self.instance_id,
            backup_id=order.backup_id,
            parent_id=order.parent.backup_id if order.parent else None,
            datastore=self.datastore.manager,
            series=self.series,
            engine_version=version,
            position=position,
            size_bytes=size,
            began=began,
            ended=datetime.now(UTC),
            key_id=order.key_id,
            attempt=attempt,
            chunks=chunks,
        )
        return BackupReport(
            size_bytes=size,
            stored_bytes=sum(each.size for each in chunks),
            chunks=len(chunks),
            checksum=store.complete(manifest),
            engine_version=version,
            position=position,
        )

    def _stored(self, store: BackupStore, stream: IO[bytes], attempt: str) -> Iterator[StoredChunk]:
        done = 0
        for chunk in store.store(_parts(stream), attempt):
            done += chunk.size
            self.tell(Progress(step="storing", done=done, unit="bytes"))
            yield chunk

    # -- restoring one -----------------------------------------------------------------------------------------------

    def restore_data(self, order: RestoreOrder) -> GuestInfo:
        """Make the data directory beside its place, and move it there when it is whole."""
        engine = self.engine
        chain = [(self._store(each.backup_id, each), each) for each in order.chain]
        manifests = [store.manifest(source.checksum) for store, source in chain]
        self._require_chain(manifests)
        engine.require_empty(max(each.size_bytes for each in manifests))
        total = sum(chunk.size for each in manifests for chunk in each.chunks)
        try:
            parts: list[Path] = []
            done = 0
            for (store, _), manifest in zip(chain, manifests, strict=True):
                parts.append(engine.part(len(parts)))
                with unpacked(self.datastore.context.engine, engine.taking(parts[-1]), self._log()) as stream:
                    done = self._write(stream, store.load(manifest), (done, total))
            self.tell(Progress(step="preparing", done=total, total=total, unit="bytes"))
            engine.make_whole(parts)
            engine.put_in_place()
        except BaseException:
            engine.forget()
            raise
        return GuestInfo(guest_version=__version__, engine_version=manifests[-1].engine_version)

    def _log(self) -> ToolLog:
        return ToolLog(self.folder / "tools.log")

    def _write(self, stream: IO[bytes], loaded: Generator[bytes], far: tuple[int, int]) -> int:
        done, total = far
        with closing(loaded) as parts:
            for data in parts:
                stream.write(data)
                done += len(data)
                self.tell(Progress(step="restoring", done=done, total=total, unit="bytes"))
        return done

    def _require_chain(self, manifests: list[Manifest]) -> None:
        """Refuse what cannot become a database here."""
        if not manifests:
            raise BadRequest("a restore needs a backup")
        for each in manifests:
            if each.datastore != self.datastore.manager or each.series != self.series:
                raise Unsupported(
                    f"backup {each.backup_id} is of {each.datastore} {each.series}, and this instance is"
                    f" {self.datastore.manager} {self.series}"
                )
        expected: UUID | None = None
        for each in manifests:
            if each.parent_id != expected:
                of = f"an increment of {each.parent_id}" if each.parent_id else "a full one"
                raise BadRequest(f"backup {each.backup_id} is {of}, which is not what it stands behind in the chain")
            expected = each.backup_id


def _parts(stream: IO[bytes]) -> Iterable[bytes]:
    while data := stream.read(CHUNK_BYTES):
        yield data


def _work(job: Job) -> BackupWork:
    """What a process of its own finds on the machine."""
    settings = GuestSettings()
    boot = identity.read_boot(settings.paths)
    box = SecretBox(GuestSession(settings, boot).keyring, boot.instance_id)
    datastore = open_datastore(boot.datastore, engine_context(settings))
    return BackupWork(boot.instance_id, boot.version, datastore, box, job.folder, job.tell)


def back_up(job: Job) -> Fact:
    """Make a backup."""
    return _work(job).back_up(BackupOrder.model_validate(job.order.argument))


def restore_data(job: Job) -> Fact:
    """Restore one."""
    return _work(job).restore_data(RestoreOrder.model_validate(job.order.argument))


WORKS: Mapping[str, Work] = {"back_up": back_up, "restore_data": restore_data}
