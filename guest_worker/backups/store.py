"""One backup in the object store: its chunks, in ascending order, and its manifest, which is written last and read first."""

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError

from contract.domain.errors import EngineFailed, NotFound, TicketRefused, Unavailable, Unsupported
from contract.domain.manifest import FORMAT, MANIFEST, Manifest, StoredChunk, chunk_name
from guest_worker.backups.sealing import ChunkSeal, NotThisChunk
from guest_worker.objects import ObjectStore

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # seconds between attempts at one object: two minutes in all
Answer = TypeVar("Answer")


class BackupStore:
    """The objects of one backup. One object is on its way while the next is made or the one before is used."""

    def __init__(self, backup_id: UUID, objects: ObjectStore, key: bytes, pauses: Iterable[float] = PAUSES) -> None:
        """`pauses`: seconds between attempts while the store does not answer."""
        self._backup_id = backup_id
        self._objects = objects
        self._key = key
        self._pauses = tuple(pauses)

    # -- writing -----------------------------------------------------------------------------------------------------

    def store(self, parts: Iterable[bytes], attempt: str) -> Iterator[StoredChunk]:
        """Store parts as chunks; yield each when it is stored."""
        seal = ChunkSeal(self._key, self._backup_id, attempt)
        with _beside() as line:
            ahead: Future[StoredChunk] | None = None
            for number, data, last in _numbered(parts):
                sealed = seal.seal(number, data, last=last)
                if ahead is not None:
                    yield ahead.result()
                ahead = line.submit(self._put, chunk_name(number), sealed)
                del data, sealed
            if ahead is not None:
                yield ahead.result()

    def _put(self, name: str, data: bytes) -> StoredChunk:
        self._patiently(lambda: self._objects.put(name, data))
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return StoredChunk(size=len(data), sha256=hashlib.sha256(data).hexdigest(), md5=md5)

    def begin(self) -> None:
        """Take back what an earlier attempt may have called a backup."""
        self._patiently(lambda: self._objects.delete(MANIFEST))

    def complete(self, manifest: Manifest) -> str:
        """Say that the backup is there; return the manifest's checksum."""
        text = manifest.sealed(self._key).model_dump_json().encode()
        self._patiently(lambda: self._objects.put(MANIFEST, text))
        return hashlib.sha256(text).hexdigest()

    def sweep(self, last: int) -> None:
        """Delete what an earlier attempt has stored beyond this chunk: its chunks were stored in ascending order."""
        try:
            names = self._patiently(self._objects.list_names)
        except Unsupported:
            number = last + 1
            while self._deleted(chunk_name(number)):
                number += 1
            return
        for name in names:
            if name.isdigit() and int(name) > last:
                self._deleted(name)

    def _deleted(self, name: str) -> bool:
        return self._patiently(lambda: self._objects.delete(name))

    # -- reading -----------------------------------------------------------------------------------------------------

    def manifest(self, checksum: str) -> Manifest:
        """Return the manifest; EngineFailed unless it is the one that was stored, under this key."""
        try:
            text = self._patiently(lambda: self._objects.get(MANIFEST))
        except NotFound:
            raise self._damaged("its manifest is missing") from None
        if hashlib.sha256(text).hexdigest() != checksum:
            raise self._damaged("its manifest is not the one that was stored")
        try:
            found = Manifest.model_validate_json(text)
        except ValidationError as error:
            raise self._damaged(f"its manifest is not understood, in {error.error_count()} places") from None
        if found.format > FORMAT:
            raise Unsupported(f"backup {self._backup_id} has format {found.format}, and this guest reads {FORMAT}")
        if found.backup_id != self._backup_id:
            raise self._damaged(f"its manifest is that of backup {found.backup_id}")
        if not found.is_sealed_with(self._key):
            raise EngineFailed(f"the key is not that of backup {self._backup_id}: nothing was restored")
        return found

    def load(self, manifest: Manifest) -> Generator[bytes]:
        """Yield what the chunks hold, each after it was checked; EngineFailed with the name of the first that is not right."""
        seal = ChunkSeal(self._key, self._backup_id, manifest.attempt)
        count = len(manifest.chunks)
        with _beside() as line:
            ahead = line.submit(self._get, 1, manifest.chunks) if count else None
            for number in range(1, count + 1):
                data = ahead.result() if ahead is not None else b""
                ahead = line.submit(self._get, number + 1, manifest.chunks) if number < count else None
                yield self._opened(seal, number, data, last=number == count)
                del data

    def _get(self, number: int, chunks: tuple[StoredChunk, ...]) -> bytes:
        name, expected = chunk_name(number), chunks[number - 1]
        try:
            data = self._patiently(lambda: self._objects.get(name))
        except NotFound:
            raise self._damaged(f"chunk {name} is missing") from None
        if len(data) != expected.size:
            raise self._damaged(f"chunk {name} has {len(data)} bytes, and {expected.size} were stored")
        if hashlib.sha256(data).hexdigest() != expected.sha256:
            raise self._damaged(f"chunk {name} is not the one that was stored")
        return data

    def _opened(self, seal: ChunkSeal, number: int, data: bytes, *, last: bool) -> bytes:
        try:
            return seal.open(number, data, last=last)
        except NotThisChunk:
            raise self._damaged(f"chunk {chunk_name(number)} is not sealed as this chunk of this backup") from None

    # -- both --------------------------------------------------------------------------------------------------------

    def _damaged(self, what: str) -> EngineFailed:
        return EngineFailed(f"backup {self._backup_id} is damaged: {what}; nothing was restored from it")

    def _patiently(self, work: Callable[[], Answer]) -> Answer:
        """Try again while the store does not answer; Unavailable when that lasts."""
        for pause in self._pauses:
            try:
                return work()
            except TicketRefused:
                raise
            except OSError:
                time.sleep(pause)
        try:
            return work()
        except OSError as error:
            raise Unavailable(f"The object store has not answered for some time: {error}.") from error


@contextmanager
def _beside() -> Iterator[ThreadPoolExecutor]:
    """A thread for one object; what is broken off does not wait for it."""
    line = ThreadPoolExecutor(1)
    try:
        yield line
    finally:
        line.shutdown(wait=False, cancel_futures=True)


def _numbered(parts: Iterable[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Parts with their numbers from 1, and whether each is the last."""
    rest = iter(parts)
    number, ahead = 1, next(rest, None)
    while ahead is not None:
        data, ahead = ahead, next(rest, None)
        yield number, data, ahead is None
        number += 1
        del data
