"""Backups and strategies in the records: quota, order, who may restore what, and what must not be deleted."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.backups import PostgresBackups
from contract.domain.backups import BackupChange, BackupPlace, BackupStatus, NewBackup
from contract.domain.errors import BadRequest, Busy, NotFound, QuotaExceeded
from contract.domain.operation import Caller, MemberRequest, OperationKind, OperationState, ResourceChanges
from contract.ports.backup_records import BackupLeft, BackupName, Strategy
from contract.ports.records import QuotaChange
from records.backup_reads import BackupFilter, BackupReader
from records.engine import AsyncEngine
from records.reads import Reader, Scope
from tests.records.runbook_driver import Asked, Driver

PLACE = BackupPlace(account_url="http://swift/v1/AUTH_p", container="c")
GIB = 2**30


@pytest.fixture
def kept(engine: AsyncEngine) -> PostgresBackups:
    """The verbs about backups."""
    return PostgresBackups(engine)


@pytest.fixture
def backups(reader: Reader) -> BackupReader:
    """What the API reads them with."""
    return BackupReader(reader)


def order(built: Asked, driver: Driver) -> Asked:
    """A request to back an instance up."""
    request = driver.request(OperationKind.BACKUP, built.instance_id, built.caller)
    new = NewBackup(id=uuid4(), name="b", description="d", place=PLACE)
    return request.model_copy(update={"members": (MemberRequest(instance_id=built.instance_id, backup=new),)})


async def backed_up(driver: Driver, built: Asked, size: int = GIB) -> UUID:
    """A backup that is complete."""
    request = order(built, driver)
    admission = await driver.records.admit(request)
    made = admission.members[0].backup
    assert made is not None
    assert (made.status, made.place, made.project_id) == (BackupStatus.NEW, PLACE, built.caller.project_id)
    assert (await driver.records.admit(request)).members[0].backup == made
    change = BackupChange(id=made.id, status=BackupStatus.COMPLETED, checksum="0" * 64, size_bytes=size, key_id="c:x:1")
    await driver.close(
        admission, OperationState.DONE, learnt=(ResourceChanges(instance_id=built.instance_id, backup=change),)
    )
    return made.id


async def restoring(driver: Driver, backup_id: UUID, project: str, **spec: Any) -> Asked:
    """A request to make an instance from a backup."""
    return (await driver.creation(project)).changed(backup_id=backup_id, **spec)


async def test_each_backup_is_charged_until_it_is_gone(
    driver: Driver, kept: PostgresBackups, backups: BackupReader, reader: Reader
) -> None:
    built = await driver.created()
    project = built.caller.project_id
    await driver.records.set_quotas(QuotaChange(project_id=project, limits={"backups": 1}))
    backup_id = await backed_up(driver, built)
    with pytest.raises(QuotaExceeded, match="backups"):
        await driver.records.admit(order(built, driver))
    found = await backups.get_backup(backup_id, Scope(project))
    assert found is not None
    assert (found.status, found.size_bytes, found.name, found.datastore) == ("COMPLETED", GIB, "b", "postgresql")
    assert await backups.get_backup(backup_id, Scope("another")) is None
    which = BackupName(id=backup_id, caller=built.caller)
    for _ in range(2):
        await kept.begin_deletion(which)
    for _ in range(2):
        await kept.forget_backup(backup_id)
    assert {each.resource: each.in_use for each in await reader.list_quotas(project)}["backups"] == 0
    with pytest.raises(NotFound):
        await kept.begin_deletion(which)


async def test_what_is_made_or_restored_from_is_not_deleted(driver: Driver, kept: PostgresBackups) -> None:
    built = await driver.created()
    request = order(built, driver)
    admission = await driver.records.admit(request)
    made = admission.members[0].backup
    assert made is not None
    which = BackupName(id=made.id, caller=built.caller)
    with pytest.raises(Busy, match="is running"):
        await kept.begin_deletion(which)
    with pytest.raises(BadRequest, match="is not complete"):
        await driver.records.admit(await restoring(driver, made.id, built.caller.project_id))
    await driver.close(admission, OperationState.FAILED)
    backup_id = await backed_up(driver, built)
    creation = await restoring(driver, backup_id, built.caller.project_id)
    restore = await driver.records.admit(creation)
    assert restore.members[0].restores is not None
    assert (restore.members[0].restores.id, restore.members[0].restores.checksum) == (backup_id, "0" * 64)
    assert await driver.records.admit(creation) == restore
    which = BackupName(id=backup_id, caller=built.caller)
    with pytest.raises(Busy, match="is being made from it"):
        await kept.begin_deletion(which)
    with pytest.raises(NotFound):
        await kept.begin_deletion(BackupName(id=backup_id, caller=Caller(project_id="another")))
    await driver.close(restore, OperationState.DONE)
    await kept.begin_deletion(which)
    with pytest.raises(NotFound):
        await driver.records.admit(await restoring(driver, backup_id, built.caller.project_id))
    await kept.keep_backup(BackupLeft(id=backup_id, reason="the store is away"))
    with pytest.raises(BadRequest, match="DELETE_FAILED"):
        await driver.records.admit(await restoring(driver, backup_id, built.caller.project_id))


async def test_who_may_restore_what(driver: Driver) -> None:
    built = await driver.created()
    project, backup_id = built.caller.project_id, await backed_up(driver, built, 3 * GIB)
    with pytest.raises(BadRequest, match="larger than the volume"):
        await driver.records.admit(await restoring(driver, backup_id, project))
    with pytest.raises(NotFound):
        await driver.records.admit(await restoring(driver, backup_id, "another", volume_gib=3))
    with pytest.raises(NotFound):
        await driver.records.admit(await restoring(driver, uuid4(), project, volume_gib=3))
    assert await driver.records.admit(await restoring(driver, backup_id, project, volume_gib=3))


async def test_what_changed_last_comes_first_and_pages_lose_nothing(driver: Driver, backups: BackupReader) -> None:
    built = await driver.created()
    made = [await backed_up(driver, built) for _ in range(3)]
    scope, which = Scope(built.caller.project_id), BackupFilter(built.instance_id, "postgresql")
    first, more = await backups.list_backups(scope, which, 2, 0)
    rest, no_more = await backups.list_backups(scope, which, 2, 2)
    assert [each.id for each in (*first, *rest)] == made[::-1]
    assert (more, no_more) == (True, False)
    assert await backups.list_backups(scope, BackupFilter(datastore="mariadb"), 2, 0) == ([], False)
    assert await backups.list_backups(scope, BackupFilter(uuid4()), 2, 0) == ([], False)


async def test_the_strategy_of_the_instance_comes_before_that_of_the_project(
    driver: Driver, kept: PostgresBackups, backups: BackupReader
) -> None:
    built = await driver.created()
    project, instance_id = built.caller.project_id, built.instance_id
    assert await backups.container_for(project, instance_id) is None
    of_all = Strategy(project_id=project, container="all")
    of_one = Strategy(project_id=project, instance_id=instance_id, container="one")
    for each in (of_all, of_one, of_one):
        await kept.set_strategy(each)
    assert await backups.container_for(project, instance_id) == "one"
    assert await backups.list_strategies(project) == [("", "all"), (str(instance_id), "one")]
    assert await backups.list_strategies(project, instance_id) == [(str(instance_id), "one")]
    for _ in range(2):
        await kept.remove_strategy(of_one)
    assert await backups.container_for(project, instance_id) == "all"
    with pytest.raises(NotFound):
        await kept.set_strategy(Strategy(project_id="another", instance_id=instance_id, container="x"))
