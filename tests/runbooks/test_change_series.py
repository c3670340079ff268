"""An upgrade to another series ends with server, data and record on it, or all on the old one, over each of its steps.

The guests' engine is one PostgreSQL, which says that it is of the series that its server's image is for, and runs on data of
that series alone; MariaDB's own way is in `series/test_drivers.py`, the whole in `api/test_rebuild.py`.
"""

from uuid import UUID

import psycopg
import pytest
from temporalio.client import WorkflowFailureError

from contract.domain.datastores.postgresql import POSTGRESQL
from contract.names import lock_id
from guest_worker.reserve import Space
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_delete_and_restart import answers, with_a_row
from tests.runbooks.test_rebuild import NEW, OLD, unwatched
from tests.runbooks.test_upgrade import runs, version_of
from tests.runbooks.test_watch import so
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEFORE, AFTER = ("15", OLD), ("16", NEW)
THERE_AND_BACK = ("get_image_of", "get_health", "check_upgrade", "close_gate", "stop_datastore", "keep_data", "expect_guest",
                  "rebuild_server", "require_server_rebuilt", "prepare_volume", "initialise_datastore",
                  "upgrade_data")  # fmt: skip
FORWARD = ("start_datastore", "start_watch")
STEPS = (*THERE_AND_BACK, *FORWARD)


@pytest.fixture(autouse=True)
def another_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runbooks' worker is of this process: there the engine of the tests can be taken to 16."""
    monkeypatch.setitem(POSTGRESQL.upgrades, "15", ("16",))


async def is_whole(world: World, instance_id: UUID, wanted: tuple[str, str]) -> None:
    """Record, server and data agree, with the row, and no copy is left."""
    await runs(world, instance_id, wanted)
    assert world.guests[0].series == wanted[0]
    assert list(world.guests[0].folder.glob("data/*.kept*")) == []


async def upgraded(world: World, instance_id: UUID) -> None:
    """Have it done."""
    await (await world.upgrade(instance_id, "16")).result()


async def test_it_ends_on_the_other_series_with_the_data(world: World) -> None:
    instance_id = await unwatched(world)
    await upgraded(world, instance_id)
    await is_whole(world, instance_id, AFTER)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("upgrade", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    end = await (await world.upgrade(instance_id, "15")).result()
    assert end is not None
    assert "an engine does not run on the data of a newer one" in end
    await is_whole(world, instance_id, AFTER)


@pytest.mark.parametrize("step", THERE_AND_BACK)
async def test_refuse_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await upgraded(world, instance_id)
    await is_whole(world, instance_id, BEFORE)
    await upgraded(world, instance_id)
    await is_whole(world, instance_id, AFTER)


@pytest.mark.parametrize("step", FORWARD)
async def test_refuse_a_step_beyond_the_point_of_no_return_and_it_is_new(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await upgraded(world, instance_id)
    await is_whole(world, instance_id, AFTER)


@pytest.mark.parametrize("step", (*STEPS, "find_instance", "choose_image", "admit", "note_steps", "close"))
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    world.faults.lose.add(step)
    await upgraded(world, instance_id)
    assert step not in world.faults.lose
    await is_whole(world, instance_id, AFTER)


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_it_at_a_step(world: World, step: str) -> None:
    instance_id = await unwatched(world)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    if step in FORWARD:
        await upgraded(world, instance_id)
    else:
        with pytest.raises(WorkflowFailureError):
            await upgraded(world, instance_id)
    await is_whole(world, instance_id, AFTER if step in FORWARD else BEFORE)


@pytest.mark.parametrize("step", (*STEPS, "close"))
async def test_end_the_run_at_a_step_and_all_agree(world: World, step: str) -> None:
    instance_id = await unwatched(world)
    async with world.held(step) as held:
        run = await world.upgrade(instance_id, "16")
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    await is_whole(world, instance_id, BEFORE if step in THERE_AND_BACK else AFTER)


async def test_what_is_written_on_the_new_series_stays_when_the_run_is_ended(world: World) -> None:
    instance_id = await unwatched(world)
    async with world.held("start_watch") as held:
        run = await world.upgrade(instance_id, "16")
        await held.arrived()
        with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app") as connection:
            connection.execute("INSERT INTO t VALUES (2)")
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    assert version_of(world, instance_id) == "16"
    await answers(world, 2)


@pytest.mark.parametrize("step", ["keep_data", "upgrade_data"])
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    instance_id = await world.created()
    await world.end_watch(instance_id)
    async with world.held(step) as held:
        await world.upgrade(instance_id, "16")
        await held.arrived()
        await world.delete(instance_id)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


async def test_without_room_for_a_copy_it_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest says so in each report, so that one which is under way when its watch ends says nothing else."""
    space = Space(total=2**30, used=700 * 2**20, free=324 * 2**20, files_free=None, read_only=False)
    monkeypatch.setattr("guest_worker.verbs.health.space_of", lambda folder: space)
    instance_id = await with_a_row(world)
    used = "SELECT volume_used_bytes FROM instances WHERE id = %s"
    await so(lambda: world.stack.sql(used, instance_id, database=world.database)[0][0] == space.used)
    await world.end_watch(instance_id)
    end = await (await world.upgrade(instance_id, "16")).result()
    assert end is not None
    assert "The data volume has no room for a copy of the data" in end
    await is_whole(world, instance_id, BEFORE)
