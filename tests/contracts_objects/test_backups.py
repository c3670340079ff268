"""A backup in each kind of store: what was stored comes back, and whatever was done to it meanwhile is found and named."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.exceptions import ApplicationError

from contract.domain.errors import TicketRefused, Unavailable
from contract.domain.manifest import MANIFEST, Manifest, backup_prefix
from contract.ports.tickets import Right
from guest_worker.backups.sealing import new_attempt
from guest_worker.backups.store import BackupStore
from guest_worker.objects import ObjectStore, open_store
from tests.contracts_objects.stores import Store

PARTS = (b"first" * 1000, b"second" * 1000, b"third" * 1000, b"end")
KEY, OTHER_KEY = b"k" * 32, b"o" * 32


@dataclass
class Stored:
    """A backup in a store, which its owner and an attacker may change."""

    store: Store
    instance: UUID
    key: bytes = KEY
    checksum: str = ""

    def __post_init__(self) -> None:
        self.id = uuid4()
        self.prefix = backup_prefix(self.instance, self.id)

    def open(self, right: Right, key: bytes | None = None) -> BackupStore:
        """As a guest has it."""
        ticket = self.store.issue(self.instance, self.prefix, right)
        return BackupStore(self.id, open_store(ticket, self.store.box(self.instance)), key or self.key, pauses=())

    def make(self, parts: tuple[bytes, ...] = PARTS) -> "Stored":
        """Store it."""
        writing = self.open(Right.WRITE)
        writing.begin()
        attempt = new_attempt()
        chunks = tuple(writing.store(parts, attempt))
        writing.sweep(len(chunks))
        now = datetime.now(UTC)
        manifest = Manifest(instance_id=self.instance, backup_id=self.id, datastore="mariadb", series="10.11",
                            engine_version="10.11.6", size_bytes=1, began=now, ended=now, attempt=attempt,
                            chunks=chunks)  # fmt: skip
        self.checksum = writing.complete(manifest)
        return self

    def read(self, key: bytes | None = None) -> list[bytes]:
        """All of it, as a restore reads it."""
        reading = self.open(Right.READ, key)
        return list(reading.load(reading.manifest(self.checksum)))

    def look(self, name: str) -> bytes:
        """An object."""
        found = self.store.look(self.prefix + name)
        assert found is not None
        return found

    def put(self, name: str, data: bytes) -> None:
        """An object in its place."""
        self.store.put(self.prefix + name, data)

    def delete(self, name: str) -> None:
        """An object."""
        ticket = self.store.issue(self.instance, self.prefix, Right.WRITE)
        open_store(ticket, self.store.box(self.instance)).delete(name)

    def rewrite(self, change: Callable[[dict[str, Any]], None], key: bytes | None = None) -> None:
        """Another manifest, whose checksum is believed; with `key`, by somebody who has the backup's."""
        manifest = json.loads(self.look(MANIFEST))
        change(manifest)
        text = json.dumps(manifest).encode()
        if key:
            text = Manifest.model_validate(manifest).sealed(key).model_dump_json().encode()
        self.put(MANIFEST, text)
        self.checksum = hashlib.sha256(text).hexdigest()


@pytest.fixture
def backup(store: Store, mine: UUID) -> Stored:
    """One that is whole."""
    return Stored(store, mine).make()


def of_another(backup: Stored) -> Stored:
    return Stored(backup.store, backup.instance, backup.key).make()


def flip(backup: Stored) -> None:
    data = bytearray(backup.look("000002"))
    data[100] ^= 1
    backup.put("000002", bytes(data))


def swap(backup: Stored) -> None:
    first, second = backup.look("000001"), backup.look("000002")
    backup.put("000001", second)
    backup.put("000002", first)


def swap_and_say_so(backup: Stored) -> None:
    def change(manifest: dict[str, Any]) -> None:
        chunks = manifest["chunks"]
        chunks[0], chunks[1] = chunks[1], chunks[0]

    swap(backup)
    backup.rewrite(change, KEY)


def of_an_earlier_attempt(backup: Stored) -> None:
    old = backup.look("000002")
    backup.make()
    backup.put("000002", old)


def from_another_backup_and_say_so(backup: Stored) -> None:
    other = of_another(backup)
    chunk = json.loads(other.look(MANIFEST))["chunks"][1]
    backup.put("000002", other.look("000002"))
    backup.rewrite(lambda manifest: manifest["chunks"].__setitem__(1, chunk), KEY)


DAMAGE: dict[str, tuple[Callable[[Stored], None], str]] = {
    "a bit": (flip, "chunk 000002 is not the one"),
    "cut": (lambda it: it.put("000003", it.look("000003")[:-1]), "chunk 000003 has 5015 bytes, and 5016"),
    "empty": (lambda it: it.put("000001", b""), "chunk 000001 has 0 bytes"),
    "swapped": (swap, "chunk 000001"),
    "swapped, manifest too": (swap_and_say_so, "chunk 000001 is not sealed as this chunk"),
    "another backup's": (lambda it: it.put("000002", of_another(it).look("000002")), "chunk 000002 is not the one"),
    "another backup's, manifest too": (from_another_backup_and_say_so, "chunk 000002 is not sealed as this chunk"),
    "an earlier attempt's": (of_an_earlier_attempt, "chunk 000002 is not the one"),
    "missing": (lambda it: it.delete("000002"), "chunk 000002 is missing"),
    "last missing": (lambda it: it.delete("000004"), "chunk 000004 is missing"),
    "end cut off by one with the key": (
        lambda it: it.rewrite(lambda manifest: manifest["chunks"].pop(), KEY),
        "chunk 000003 is not sealed as this chunk",
    ),
    "end cut off by one without": (
        lambda it: it.rewrite(lambda manifest: manifest["chunks"].pop()),
        "the key is not that of backup",
    ),
    "no manifest": (lambda it: it.delete(MANIFEST), "its manifest is missing"),
    "other manifest": (lambda it: it.put(MANIFEST, of_another(it).look(MANIFEST)), "its manifest is not the one"),
    "other manifest that is believed": (
        lambda it: it.rewrite(lambda manifest: manifest.update(backup_id=str(uuid4())), KEY),
        "its manifest is that of backup",
    ),
    "no manifest at all": (
        lambda it: it.rewrite(lambda manifest: manifest.pop("chunks")),
        "its manifest is not understood",
    ),
    "a later format": (
        lambda it: it.rewrite(lambda manifest: manifest.update(format=2)),
        "has format 2, and this guest reads 1",
    ),
}


def test_what_was_stored_comes_back_and_nobody_reads_it_in_the_store(backup: Stored) -> None:
    assert backup.read() == list(PARTS)
    assert sorted(backup.store.keys(backup.instance)) == sorted(
        backup.prefix + name for name in ("000001", "000002", "000003", "000004", MANIFEST)
    )
    assert not any(part[:20] in backup.look("000001") for part in PARTS)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_named(backup: Stored, damage: str) -> None:
    harm, words = DAMAGE[damage]
    harm(backup)
    with pytest.raises(ApplicationError, match=words) as refused:
        backup.read()
    assert refused.value.non_retryable


def test_another_key_opens_nothing(backup: Stored) -> None:
    with pytest.raises(ApplicationError, match="the key is not that of backup"):
        backup.read(OTHER_KEY)


def test_a_shorter_attempt_leaves_nothing_of_a_longer_one(backup: Stored) -> None:
    backup.make(PARTS[:2])
    assert backup.read() == list(PARTS[:2])
    assert len(backup.store.keys(backup.instance)) == 3


def test_two_attempts_under_one_key_have_nothing_in_common(backup: Stored) -> None:
    before = backup.look("000001")
    backup.make()
    assert not set(_blocks(before)) & set(_blocks(backup.look("000001")))


def _blocks(data: bytes) -> list[bytes]:
    return [data[start : start + 16] for start in range(0, len(data), 16)]


def test_a_ticket_that_has_run_out_stores_nothing(store: Store, mine: UUID) -> None:
    stored = Stored(store, mine)
    objects = open_store(store.expired(mine, stored.prefix, Right.WRITE), store.box(mine))
    with pytest.raises(TicketRefused):
        list(BackupStore(stored.id, objects, KEY).store(PARTS, new_attempt()))


class Silent:
    """A store that answers some questions, and then no more for a while."""

    def __init__(self, store: ObjectStore, answers: int, silent: int) -> None:
        self._store = store
        self._answers, self._silent = answers, silent

    def __getattr__(self, name: str) -> Any:
        self._answers -= 1
        if self._answers < 0 <= self._answers + self._silent:
            raise ConnectionError("the object store did not answer")
        return getattr(self._store, name)


@pytest.mark.parametrize("silent", [2, 9])
def test_a_store_that_is_silent_for_a_moment_is_waited_for(store: Store, mine: UUID, silent: int) -> None:
    stored = Stored(store, mine)
    objects: Any = Silent(open_store(store.issue(mine, stored.prefix, Right.WRITE), store.box(mine)), 1, silent)
    writing = BackupStore(stored.id, objects, KEY, pauses=(0.01,) * 3)
    if silent > 3:
        with pytest.raises(Unavailable):
            list(writing.store(PARTS, new_attempt()))
    else:
        assert len(list(writing.store(PARTS, new_attempt()))) == len(PARTS)
