"""Root history: what may have happened counts as having happened."""

from uuid import UUID, uuid4

import pytest

from contract.ports.records import RootNote
from records.reads import Reader
from tests.records.runbook_driver import Driver


@pytest.fixture
def instance_id() -> UUID:
    """An instance of the test's own."""
    return uuid4()


def note(instance_id: UUID, request: str, *, wanted: bool, done: bool | None = None, user: str = "amy") -> RootNote:
    """An intent, or with `done` its result."""
    return RootNote(instance_id=instance_id, request_id=request, user_id=user, wanted=wanted, done=done)


async def test_root_that_nobody_asked_for_is_not_enabled(reader: Reader, instance_id: UUID) -> None:
    root = await reader.get_root(instance_id)
    assert (root.enabled, root.ever_enabled, root.enabled_at, root.enabled_by) == (False, False, None, None)


async def test_an_intent_without_an_answer_counts_as_enabled(driver: Driver, reader: Reader, instance_id: UUID) -> None:
    await driver.records.note_root(note(instance_id, "r1", wanted=True))
    root = await reader.get_root(instance_id)
    assert (root.enabled, root.ever_enabled, root.enabled_by) == (True, True, "amy")
    assert root.enabled_at is not None


async def test_an_intent_that_came_to_nothing_does_not(driver: Driver, reader: Reader, instance_id: UUID) -> None:
    await driver.records.note_root(note(instance_id, "r1", wanted=True))
    await driver.records.note_root(note(instance_id, "r1", wanted=True, done=False))
    root = await reader.get_root(instance_id)
    assert (root.enabled, root.ever_enabled, root.enabled_by) == (False, False, None)


async def test_a_result_is_kept_and_asked_twice_it_is_one(driver: Driver, reader: Reader, instance_id: UUID) -> None:
    for done in (None, True, True, None):  # the last one: a retry that comes late must not forget the result
        await driver.records.note_root(note(instance_id, "r1", wanted=True, done=done))
    assert (await reader.get_root(instance_id)).enabled
    rows = await driver.sql("SELECT done FROM root_changes WHERE instance_id = :id", id=instance_id)
    assert rows == [{"done": True}]


async def test_root_that_was_taken_back_is_not_enabled_but_was(
    driver: Driver, reader: Reader, instance_id: UUID
) -> None:
    await driver.records.note_root(note(instance_id, "r1", wanted=True, done=True))
    given = await reader.get_root(instance_id)
    await driver.records.note_root(note(instance_id, "r2", wanted=False, done=True, user="bob"))
    root = await reader.get_root(instance_id)
    assert (root.enabled, root.ever_enabled) == (False, True)
    assert (root.enabled_at, root.enabled_by) == (given.enabled_at, "amy")


@pytest.mark.parametrize("done", [None, False])
async def test_taking_it_back_counts_only_when_it_was_done(
    driver: Driver, reader: Reader, instance_id: UUID, done: bool | None
) -> None:
    await driver.records.note_root(note(instance_id, "r1", wanted=True, done=True))
    await driver.records.note_root(note(instance_id, "r2", wanted=False))
    if done is not None:
        await driver.records.note_root(note(instance_id, "r2", wanted=False, done=done))
    assert (await reader.get_root(instance_id)).enabled


async def test_who_had_it_first_is_told_for_ever(driver: Driver, reader: Reader, instance_id: UUID) -> None:
    await driver.records.note_root(note(instance_id, "r0", wanted=True, done=False, user="zoe"))  # never had it
    for number, user in enumerate(("amy", "bob")):
        await driver.records.note_root(note(instance_id, f"on-{number}", wanted=True, done=True, user=user))
        await driver.records.note_root(note(instance_id, f"off-{number}", wanted=False, done=True, user=user))
    await driver.records.note_root(note(instance_id, "last", wanted=True, user="cid"))
    root = await reader.get_root(instance_id)
    assert (root.enabled, root.enabled_by) == (True, "amy")


async def test_instances_have_histories_of_their_own(driver: Driver, reader: Reader, instance_id: UUID) -> None:
    await driver.records.note_root(note(instance_id, "r1", wanted=True, done=True))
    await driver.records.note_root(note(uuid4(), "r1", wanted=False, done=True))
    assert (await reader.get_root(instance_id)).enabled
