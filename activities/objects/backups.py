"""The port `BackupObjects`, over Swift: in containers of tenants' projects, which the API has prepared with a key of ours."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import ValidationError
from temporalio import activity

from activities.objects.sealed import METHODS, read_ca, seal
from activities.objects.temp_urls import SignedObjects
from activities.settings import ActivitySettings
from contract.domain.backups import BackupFacts, BackupPlace, key_name
from contract.domain.errors import BadRequest, NotFound, NotYet, ResourceFailed, TicketRefused
from contract.domain.manifest import MANIFEST, Manifest, chunk_name
from contract.keys.keyring import Keyring, NotOurs
from contract.keys.sealing import SecretBox
from contract.names import epoch_of
from contract.ports.backup_objects import BackupAccess, BackupAccessOrder, BackupObjects
from contract.ports.tickets import (
    LONGEST,
    SwiftAccess,
    Ticket,
    TicketContent,
    TicketOrder,
    account_in,
    container_key_name,
    for_guests,
)

AT_ONCE = 8.0  # seconds of one attempt; the next one goes on


class SwiftBackups(BackupObjects):
    """Signs with the key that derives from the master key and the container, as the API does."""

    def __init__(self, settings: ActivitySettings, keyring: Keyring, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._keyring = keyring
        self._now = now

    @activity.defn
    def open_backup(self, order: BackupAccessOrder) -> BackupAccess:
        backup = order.backup
        wanted = TicketOrder(instance_id=order.reader_id, prefix=backup.prefix, right=order.right, seconds=LONGEST)
        wanted.owner()  # what was ordered is checked as every ticket is
        key_id = backup.key_id or key_name(backup.id, self._keyring.current)
        key = SecretBox(self._keyring, order.reader_id).seal(self._secret(key_id).hex())
        return BackupAccess(ticket=self._ticket(wanted, backup.place), key=key, key_id=key_id)

    @activity.defn
    def check_backup(self, backup: BackupFacts) -> None:
        until, begin = time.monotonic() + AT_ONCE, next(iter(activity.info().heartbeat_details), 0)
        with self._objects(backup) as objects:
            manifest = self._manifest(objects, backup)
            for number in range(begin, len(manifest.chunks)):
                if time.monotonic() > until:
                    activity.heartbeat(number)
                    raise NotYet(f"{number} of {len(manifest.chunks)} objects were looked at")
                _compare(manifest, number, objects)

    @activity.defn
    def delete_backup(self, backup: BackupFacts) -> None:
        until = time.monotonic() + AT_ONCE
        with self._objects(backup) as objects:
            objects.delete(MANIFEST)
            # from the last one: what is left stands at the beginning, where the next attempt finds it
            for number in range(_last(objects), 0, -1):
                objects.delete(chunk_name(number))
                if time.monotonic() > until:
                    raise NotYet(f"{number - 1} objects are left to delete")

    def _ticket(self, order: TicketOrder, place: BackupPlace) -> Ticket:
        expires = int(self._now()) + order.seconds
        base = for_guests(place.account_url, self._settings.objects_for_guests)
        access = SwiftAccess.signed(
            f"{base}/{place.container}", f"{_account_path(place)}/{order.prefix}", self._container_key(place),
            methods=METHODS[order.right], expires=expires,
        )  # fmt: skip
        content = TicketContent(prefix=order.prefix, store=access, ca=read_ca(self._settings))
        return seal(self._keyring, order, content, datetime.fromtimestamp(expires, UTC))

    @contextmanager
    def _objects(self, backup: BackupFacts) -> Iterator[SignedObjects]:
        key, path = self._container_key(backup.place), _account_path(backup.place)
        objects = SignedObjects(backup.place.container_url, path, backup.prefix, key, read_ca(self._settings))
        try:
            yield objects
        finally:
            objects.close()

    def _container_key(self, place: BackupPlace) -> str:
        return self._secret(container_key_name(place.account_url, place.container, place.epoch)).hex()

    def _secret(self, name: str) -> bytes:
        try:
            return self._keyring.key(name)
        except NotOurs:
            raise TicketRefused(f"the master key of epoch {epoch_of(name)} was forgotten") from None

    def _manifest(self, objects: SignedObjects, backup: BackupFacts) -> Manifest:
        try:
            content = objects.get(MANIFEST)
        except NotFound:
            raise ResourceFailed(f"the object store has no {backup.prefix}{MANIFEST}") from None
        if hashlib.sha256(content).hexdigest() != backup.checksum:
            raise ResourceFailed("the manifest is not the one that was stored")
        try:
            return Manifest.model_validate_json(content)
        except ValidationError:
            raise ResourceFailed("the manifest is not understood") from None


def _account_path(place: BackupPlace) -> str:
    """Path of the container, as Swift signs it."""
    account = account_in(place.account_url)
    if not account:
        raise BadRequest(f"the object store's URL {place.account_url} names no account")
    return f"/v1/{account}/{place.container}"


def _compare(manifest: Manifest, number: int, objects: SignedObjects) -> None:
    name, wanted = chunk_name(number + 1), manifest.chunks[number]
    found = objects.head(name)
    if found is None:
        raise ResourceFailed(f"object {name} is missing in the object store")
    if found != (wanted.size, wanted.md5):
        raise ResourceFailed(f"object {name} is not what was stored")


def _last(objects: SignedObjects) -> int:
    """The number of the last object: all before it are there, since they were stored in this order."""
    there, missing = 0, 1
    while objects.head(chunk_name(missing)) is not None:
        there, missing = missing, 2 * missing
    while missing - there > 1:
        middle = (there + missing) // 2
        if objects.head(chunk_name(middle)) is None:
            missing = middle
        else:
            there = middle
    return there
