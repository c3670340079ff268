"""Backups in a tenant's container of OpenStack's own Swift: its key, tickets, the check of what is stored, the deletion."""

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest
from temporalio.testing import ActivityEnvironment

from activities.objects.backups import SwiftBackups
from activities.settings import ActivitySettings
from api.faults import Fault
from api.settings import ApiSettings
from api.swift.backups import EPOCH, KEYS, BackupContainers
from api.swift.containers import Account
from contract.domain.backups import BackupFacts, BackupStatus
from contract.domain.errors import NotFound, ResourceFailed, TicketRefused
from contract.domain.manifest import MANIFEST, Manifest, StoredChunk, chunk_name
from contract.keys.keyring import MasterKeyring, Ring
from contract.keys.sealing import SecretBox
from contract.ports.backup_objects import BackupAccessOrder
from contract.ports.tickets import Right
from guest_worker.objects import ObjectStore, open_store
from tests.stack import RunningStack
from tests.temporal import own_keyring

SECRETS = {1: b"m" * 32, 2: b"n" * 32}
KEYRING = MasterKeyring(lambda needed=None: Ring(SECRETS, 1))
CHUNKS = [b"first" * 100, b"second" * 50, b"third", b"fourth", b"fifth"]
STORED = SwiftBackups(ActivitySettings(), KEYRING)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


@pytest.fixture
def account(stack: RunningStack) -> Account:
    """The Swift of a tenant's project."""
    token, project = stack.token("demo")
    return Account(f"http://127.0.0.1:{stack.settings.swift_port}/v1/AUTH_{project}", token)


@pytest.fixture
def container() -> str:
    """One of the test's own."""
    return f"of-a-test-{uuid4()}"


def containers(http: httpx.AsyncClient, keyring: MasterKeyring = KEYRING) -> BackupContainers:
    """As the API has them."""
    return BackupContainers(ApiSettings(), keyring, http)


async def a_backup(http: httpx.AsyncClient, account: Account, container: str) -> BackupFacts:
    """A place for a backup."""
    place = await containers(http).prepare(account, container)
    return BackupFacts(id=uuid4(), instance_id=uuid4(), project_id="p", status=BackupStatus.BUILDING, place=place)


def opened(backup: BackupFacts, right: Right, reader: UUID | None = None) -> ObjectStore:
    """The store as a guest has it."""
    reader = reader or backup.instance_id
    access = STORED.open_backup(BackupAccessOrder(backup=backup, reader_id=reader, right=right))
    box = SecretBox(own_keyring(KEYRING, reader), reader)
    assert box.open(access.key) == KEYRING.key(f"c:backup:{backup.id}:1").hex()
    return open_store(access.ticket, box)


def stored(backup: BackupFacts) -> BackupFacts:
    """Store it, as a guest does; as it is known then."""
    store, now = opened(backup, Right.WRITE), datetime.now(UTC)
    told = tuple(
        StoredChunk(size=len(each), sha256=hashlib.sha256(each).hexdigest(), md5=hashlib.md5(each).hexdigest())
        for each in CHUNKS
    )
    for number, each in enumerate(CHUNKS, 1):
        store.put(chunk_name(number), each)
    text = Manifest(instance_id=backup.instance_id, backup_id=backup.id, datastore="mariadb", series="10.11",
                    engine_version="10.11", size_bytes=1, began=now, ended=now, attempt="00", chunks=told)  # fmt: skip
    content = text.model_dump_json().encode()
    store.put(MANIFEST, content)
    return backup.model_copy(update={"checksum": hashlib.sha256(content).hexdigest()})


def check(backup: BackupFacts) -> None:
    """As the activity worker does."""
    ActivityEnvironment().run(STORED.check_backup, backup)


async def names(http: httpx.AsyncClient, account: Account, container: str) -> list[str]:
    """What the container has."""
    answer = await http.get(f"{account.url}/{container}", headers={"X-Auth-Token": account.token})
    return [each.rpartition("/")[2] for each in answer.text.split()]


async def test_store_check_read_elsewhere_and_delete(http: httpx.AsyncClient, account: Account, container: str) -> None:
    backup = stored(await a_backup(http, account, container))
    assert backup.location == f"{account.url}/{container}/{backup.instance_id}/{backup.id}/manifest.json"
    check(backup)
    elsewhere = opened(backup, Right.READ, uuid4())
    assert elsewhere.get(chunk_name(2)) == CHUNKS[1]
    with pytest.raises(TicketRefused):
        elsewhere.put(chunk_name(2), b"spoilt")
    other = stored(await a_backup(http, account, container))
    STORED.delete_backup(backup)
    STORED.delete_backup(backup)
    with pytest.raises(NotFound):
        elsewhere.get(MANIFEST)
    assert len(await names(http, account, container)) == len(CHUNKS) + 1
    check(other)


@pytest.mark.parametrize("left", range(len(CHUNKS) + 1))
async def test_whatever_an_attempt_has_left_is_deleted(
    http: httpx.AsyncClient, account: Account, container: str, left: int
) -> None:
    backup = await a_backup(http, account, container)
    store = opened(backup, Right.WRITE)
    for number in range(1, left + 1):
        store.put(chunk_name(number), b"x")
    STORED.delete_backup(backup)
    assert await names(http, account, container) == []


DAMAGE: dict[str, tuple[Callable[[ObjectStore], object], str]] = {
    "a chunk is missing": (lambda store: store.delete(chunk_name(5)), "000005 is missing"),
    "a chunk is shorter": (lambda store: store.put(chunk_name(1), b"first"), "000001 is not what was stored"),
    "a chunk is another": (lambda store: store.put(chunk_name(3), b"thirD"), "000003 is not what was stored"),
    "two are swapped": (lambda store: store.put(chunk_name(4), CHUNKS[4]), "000004 is not what was stored"),
    "no manifest": (lambda store: store.delete(MANIFEST), "has no .*manifest.json"),
    "another manifest": (lambda store: store.put(MANIFEST, b"{}"), "not the one that was stored"),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_what_is_damaged_is_found(http: httpx.AsyncClient, account: Account, container: str, what: str) -> None:
    backup = stored(await a_backup(http, account, container))
    damage, said = DAMAGE[what]
    damage(opened(backup, Right.WRITE))
    with pytest.raises(ResourceFailed, match=said):
        check(backup)


async def test_a_container_keeps_its_keys_and_ours_outlives_a_rotation(
    http: httpx.AsyncClient, account: Account, container: str
) -> None:
    token = {"X-Auth-Token": account.token}
    await http.put(f"{account.url}/{container}", headers={**token, KEYS[0]: "the tenant's own"})
    backup = stored(await a_backup(http, account, container))
    rotated = MasterKeyring(lambda needed=None: Ring(SECRETS, 2))
    assert await containers(http, rotated).prepare(account, container) == backup.place
    headers = (await http.head(f"{account.url}/{container}", headers=token)).headers
    assert (headers[KEYS[0]], headers[EPOCH]) == ("the tenant's own", "1")
    check(backup)
    forgotten = MasterKeyring(lambda needed=None: Ring({2: SECRETS[2]}, 2))
    with pytest.raises(Fault, match="two keys for temporary URLs"):
        await containers(http, forgotten).prepare(account, container)


async def test_a_key_that_was_changed_is_told_and_put_back(
    http: httpx.AsyncClient, account: Account, container: str
) -> None:
    backup = stored(await a_backup(http, account, container))
    await http.post(f"{account.url}/{container}", headers={"X-Auth-Token": account.token, KEYS[0]: ""})
    with pytest.raises(TicketRefused, match="keys of its temporary URLs were changed"):
        check(backup)
    assert await containers(http).is_gone(account, backup.place) is False
    check(backup)


async def test_a_container_that_is_gone_is_told(http: httpx.AsyncClient, account: Account, container: str) -> None:
    backup = await a_backup(http, account, container)
    await http.delete(f"{account.url}/{container}", headers={"X-Auth-Token": account.token})
    with pytest.raises(TicketRefused, match="the container is gone"):
        STORED.delete_backup(backup)
    assert await containers(http).is_gone(account, backup.place) is True
