"""What guests are known by: one enrolment a generation, changed and revoked without a gap."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from activities.identities import PostgresIdentities
from contract.domain.errors import AlreadyExists, FenceLost, NotFound
from contract.domain.operation import Admission, OperationKind
from contract.ports.identities import EnrolmentNote, GuestExpectation, TokenChange, TokenUse
from records.guests import identities
from records.reads import Reader
from tests.records.runbook_driver import Driver

FIRST, SECOND, THIRD = "1" * 64, "2" * 64, "3" * 64


@pytest.fixture
def guests(driver: Driver) -> PostgresIdentities:
    """The verbs."""
    return PostgresIdentities(driver.engine)


async def expected(driver: Driver, guests: PostgresIdentities) -> UUID:
    """An instance that is being built, whose guest may enrol."""
    admission = await driver.records.admit(await driver.creation())
    assert await guests.expect_guest(expectation(admission)) == 1
    return admission.members[0].instance.id


def expectation(admission: Admission) -> GuestExpectation:
    """In the name of an operation."""
    return GuestExpectation(instance_id=admission.members[0].instance.id, operation_id=admission.operation_id,
                            fence=admission.fence)  # fmt: skip


def note(instance_id: UUID, token_hash: str = FIRST, generation: int = 1) -> EnrolmentNote:
    """Somebody with a good ticket."""
    return EnrolmentNote(instance_id=instance_id, generation=generation, token_hash=token_hash, peer="ipv4:192.0.2.9:1")


async def known(driver: Driver, instance_id: UUID) -> frozenset[str]:
    """Hashes that count now."""
    async with driver.engine.connect() as conn:
        found = await identities(conn, [instance_id])
    return found[0].hashes if found else frozenset()


async def row(driver: Driver, instance_id: UUID) -> dict[str, Any]:
    """The identity's row."""
    (found,) = await driver.sql("SELECT * FROM guest_identities WHERE instance_id = :id", id=instance_id)
    return found


async def test_nobody_is_known_before_the_enrolment(driver: Driver, guests: PostgresIdentities) -> None:
    instance_id = await expected(driver, guests)
    assert await known(driver, instance_id) == frozenset()


async def test_an_enrolment_is_good_once_and_its_repeat_is_content(driver: Driver, guests: PostgresIdentities) -> None:
    instance_id = await expected(driver, guests)
    for _ in range(3):  # the answer is lost twice
        await guests.enrol_guest(note(instance_id))
    assert await known(driver, instance_id) == {FIRST}
    assert (await row(driver, instance_id))["doubles"] == 0


async def test_a_ticket_ends_with_the_first_use_of_its_token(driver: Driver, guests: PostgresIdentities) -> None:
    instance_id = await expected(driver, guests)
    use = TokenUse(instance_id=instance_id, generation=1, token_hash=FIRST)
    await guests.note_first_use(use)  # nobody has enrolled
    assert (await row(driver, instance_id))["first_used"] is None
    await guests.enrol_guest(note(instance_id))
    for other in ({"token_hash": SECOND}, {"generation": 2}):
        await guests.note_first_use(use.model_copy(update=other))
        assert (await row(driver, instance_id))["first_used"] is None
    await guests.note_first_use(use)
    noted = (await row(driver, instance_id))["first_used"]
    await guests.note_first_use(use)
    with pytest.raises(AlreadyExists):
        await guests.enrol_guest(note(instance_id))
    assert await known(driver, instance_id) == {FIRST}
    assert ((await row(driver, instance_id))["first_used"], (await row(driver, instance_id))["doubles"]) == (noted, 1)


async def test_a_changed_token_was_used(driver: Driver, guests: PostgresIdentities) -> None:
    """Whoever renews has made a call; neither the old nor the new token enrols again."""
    instance_id = await expected(driver, guests)
    await guests.enrol_guest(note(instance_id))
    await guests.change_token(TokenChange(instance_id=instance_id, generation=1, old_hash=FIRST, token_hash=SECOND))
    for each in (FIRST, SECOND):
        with pytest.raises(AlreadyExists):
            await guests.enrol_guest(note(instance_id, each))


async def test_a_ticket_ends_with_the_boot_time_for_its_own_token_too(
    driver: Driver, guests: PostgresIdentities
) -> None:
    instance_id = await expected(driver, guests)
    await guests.enrol_guest(note(instance_id))
    await driver.sql(
        "UPDATE guest_identities SET enrol_until = clock_timestamp() WHERE instance_id = :id", id=instance_id
    )
    with pytest.raises(NotFound):
        await guests.enrol_guest(note(instance_id))
    assert await known(driver, instance_id) == {FIRST}


async def test_a_second_one_is_refused_and_reported(
    driver: Driver, guests: PostgresIdentities, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    instance_id = await expected(driver, guests)
    await guests.enrol_guest(note(instance_id))
    for _ in range(2):
        with pytest.raises(AlreadyExists):
            await guests.enrol_guest(note(instance_id, SECOND))
    assert await known(driver, instance_id) == {FIRST}
    told = await reader.get_guest(instance_id)
    assert told is not None
    assert (told.doubles, told.last_double_from, told.last_double is not None) == (2, "ipv4:192.0.2.9:1", True)
    assert caplog.text.count("SECURITY a second enrolment") == 2
    assert SECOND not in caplog.text


async def test_after_the_boot_time_nobody_can_enrol(driver: Driver, guests: PostgresIdentities) -> None:
    instance_id = await expected(driver, guests)
    assert (await row(driver, instance_id))["enrol_until"] - (await now(driver)) > timedelta(minutes=40)
    await driver.sql("UPDATE guest_identities SET enrol_until = clock_timestamp() - interval '1 second' "
                   "WHERE instance_id = :id", id=instance_id)  # fmt: skip
    with pytest.raises(NotFound):
        await guests.enrol_guest(note(instance_id))
    assert await known(driver, instance_id) == frozenset()


async def now(driver: Driver) -> Any:
    """The database's clock."""
    return (await driver.sql("SELECT clock_timestamp() AS now"))[0]["now"]


@pytest.mark.parametrize("generation", [0, 2])
async def test_another_generation_cannot_enrol(driver: Driver, guests: PostgresIdentities, generation: int) -> None:
    instance_id = await expected(driver, guests)
    with pytest.raises(NotFound):
        await guests.enrol_guest(note(instance_id, generation=generation))


async def test_expecting_again_in_one_operation_is_the_same_expectation(
    driver: Driver, guests: PostgresIdentities
) -> None:
    admission = await driver.records.admit(await driver.creation())
    assert [await guests.expect_guest(expectation(admission)) for _ in range(2)] == [1, 1]
    await guests.enrol_guest(note(admission.members[0].instance.id))
    assert await guests.expect_guest(expectation(admission)) == 1  # an answer that was lost revokes nobody
    assert await known(driver, admission.members[0].instance.id) == {FIRST}


async def test_a_new_server_revokes_the_old_ones_guest_and_enrols_anew(
    driver: Driver, guests: PostgresIdentities
) -> None:
    created = await driver.creation()
    first = await driver.records.admit(created)
    await guests.expect_guest(expectation(first))
    await guests.enrol_guest(note(first.members[0].instance.id))
    await driver.done(first, OperationKind.CREATE)
    rebuild = await driver.records.admit(
        driver.request(OperationKind.RESTART, first.members[0].instance.id, created.caller)
    )
    assert await guests.expect_guest(expectation(rebuild)) == 2
    assert await known(driver, first.members[0].instance.id) == frozenset()
    with pytest.raises(NotFound):
        await guests.enrol_guest(note(first.members[0].instance.id))
    await guests.enrol_guest(note(first.members[0].instance.id, SECOND, generation=2))
    assert await known(driver, first.members[0].instance.id) == {SECOND}


async def test_only_an_open_operation_with_its_own_number_expects(driver: Driver, guests: PostgresIdentities) -> None:
    admission = await driver.records.admit(await driver.creation())
    stale = expectation(admission).model_copy(update={"fence": admission.fence - 1})
    with pytest.raises(FenceLost):
        await guests.expect_guest(stale)
    await driver.done(admission, OperationKind.CREATE)
    with pytest.raises(FenceLost):
        await guests.expect_guest(expectation(admission))


async def test_a_token_is_changed_without_a_gap_and_its_repeat_is_content(
    driver: Driver, guests: PostgresIdentities
) -> None:
    instance_id = await expected(driver, guests)
    await guests.enrol_guest(note(instance_id))
    change = TokenChange(instance_id=instance_id, generation=1, old_hash=FIRST, token_hash=SECOND)
    for _ in range(2):
        await guests.change_token(change)
    assert await known(driver, instance_id) == {FIRST, SECOND}
    await driver.sql("UPDATE guest_identities SET previous_until = clock_timestamp() WHERE instance_id = :id",
                   id=instance_id)  # fmt: skip
    assert await known(driver, instance_id) == {SECOND}


async def test_only_the_token_that_counts_changes_it(driver: Driver, guests: PostgresIdentities) -> None:
    """The one before may still speak for some minutes, but not choose the next: else a thief's copy could."""
    instance_id = await expected(driver, guests)
    await guests.enrol_guest(note(instance_id))
    await guests.change_token(TokenChange(instance_id=instance_id, generation=1, old_hash=FIRST, token_hash=SECOND))
    for old in (FIRST, THIRD):
        with pytest.raises(NotFound):
            await guests.change_token(
                TokenChange(instance_id=instance_id, generation=1, old_hash=old, token_hash=THIRD)
            )
    assert THIRD not in await known(driver, instance_id)


async def test_whoever_is_revoked_is_nobody_and_stays_nobody(driver: Driver, guests: PostgresIdentities) -> None:
    instance_id = await expected(driver, guests)
    await guests.enrol_guest(note(instance_id))
    for _ in range(2):
        await guests.revoke_guest(instance_id)
    assert await known(driver, instance_id) == frozenset()
    kept = await row(driver, instance_id)
    assert kept["token_hash"] is None
    for again in (note(instance_id), note(instance_id, SECOND)):
        with pytest.raises(NotFound):
            await guests.enrol_guest(again)
    with pytest.raises(NotFound):
        await guests.change_token(TokenChange(instance_id=instance_id, generation=1, old_hash=FIRST, token_hash=SECOND))


async def test_revoking_an_instance_that_never_had_a_guest_is_content(
    driver: Driver, guests: PostgresIdentities
) -> None:
    created = await driver.created()
    await guests.revoke_guest(created.instance_id)
    assert await known(driver, created.instance_id) == frozenset()


async def test_a_deleted_instances_guest_is_nobody_whatever_its_identity_says(
    driver: Driver, guests: PostgresIdentities
) -> None:
    created = await driver.creation()
    admission = await driver.records.admit(created)
    await guests.expect_guest(expectation(admission))
    await guests.enrol_guest(note(admission.members[0].instance.id))
    await driver.done(admission, OperationKind.CREATE)
    deletion = await driver.records.admit(
        driver.request(OperationKind.DELETE, admission.members[0].instance.id, created.caller)
    )
    await driver.done(deletion, OperationKind.DELETE, deleted=True)
    assert await known(driver, admission.members[0].instance.id) == frozenset()
