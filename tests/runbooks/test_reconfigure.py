"""Settings are changed, or are as they were, over each step: refused, lost, cancelled, interrupted, deleted."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from temporalio.client import WorkflowFailureError

from activities.openstack.connection import Connections
from activities.openstack.leftovers import Leftovers
from activities.settings import ActivitySettings
from activities.sweeps import RepeatedSweeps
from contract.domain.operation import Caller
from contract.domain.reconfiguring import ReconfigureOrder
from contract.names import RUNBOOKS, lock_id, waiting_id
from contract.ports.configurations import ConfigurationAnswer, ConfigurationChange, configuration_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_delete_and_restart import with_a_row
from tests.runbooks.world import PROJECT, World
from workflows.configuration import ChangeConfiguration
from workflows.instance.reconfigure import ReconfigureInstance

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLER = Caller(project_id=PROJECT, request_id="req-reconfigure")
STEPS = ("get_health", "change_settings")
LIVE = {"work_mem": 12345}
AT_START = {"max_connections": 77, "max_locks_per_transaction": 96}  # the second is not in the file without the group


def group(world: World, values: dict[str, Any], project: str = PROJECT) -> UUID:
    """A configuration group."""
    made = uuid4()
    world.stack.sql(
        "INSERT INTO configurations (id, project_id, name, datastore_version_id, values) SELECT %s, %s, 'g', id, %s::jsonb"
        " FROM datastore_versions WHERE manager = 'postgresql' LIMIT 1 RETURNING id",
        made, project, json.dumps(values), database=world.database,
    )  # fmt: skip
    return made


async def reconfigure(world: World, instance_id: UUID, configuration_id: UUID | None, **more: Any) -> Any:
    """Start a change of settings."""
    order = ReconfigureOrder(
        instance_id=instance_id, operation_id=uuid4(), caller=CALLER, configuration_id=configuration_id, **more
    )
    return await world.client.start_workflow(
        ReconfigureInstance.run, order, id=lock_id(instance_id), task_queue=RUNBOOKS
    )


def has(world: World, instance_id: UUID) -> tuple[Any, ...]:
    """What the records say: the group, whether a restart is needed, and that nothing is under way."""
    return world.stack.sql(
        "SELECT configuration_id, restart_required, wanted_configuration_id FROM instances WHERE id = %s",
        instance_id, database=world.database,
    )[0]  # fmt: skip


def shown(world: World, name: str) -> str:
    """What a new session of the tenant's has."""
    with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app") as connection:
        return str(connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0])  # type: ignore[index]


async def test_attached_changed_detached(world: World) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    before = shown(world, "work_mem")
    await (await reconfigure(world, instance_id, wanted)).result()
    assert (shown(world, "work_mem"), has(world, instance_id)) == ("12345kB", (wanted, False, None))
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("reconfigure", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    await (await reconfigure(world, instance_id, None)).result()
    assert (shown(world, "work_mem"), has(world, instance_id)) == (before, (None, False, None))
    assert world.instance(instance_id)["status"] == "ACTIVE"


async def test_what_needs_a_restart_has_it_after_one(world: World) -> None:
    instance_id, wanted = await with_a_row(world), group(world, {**LIVE, **AT_START})
    before = shown(world, "max_connections")
    await (await reconfigure(world, instance_id, wanted)).result()
    assert (shown(world, "work_mem"), shown(world, "max_connections")) == ("12345kB", before)
    assert has(world, instance_id) == (wanted, True, None)
    await (await world.restart(instance_id)).result()
    assert (shown(world, "max_connections"), has(world, instance_id)) == ("77", (wanted, False, None))
    await (await reconfigure(world, instance_id, None)).result()
    assert has(world, instance_id) == (None, True, None)
    await (await world.resize(instance_id)).result()  # starts the engine, too
    assert has(world, instance_id) == (None, False, None)
    assert shown(world, "max_connections") != "77"


async def test_settings_survive_a_resize(world: World) -> None:
    instance_id, wanted = await with_a_row(world), group(world, {**LIVE, **AT_START})
    await (await reconfigure(world, instance_id, wanted)).result()
    await (await world.resize(instance_id)).result()
    assert (shown(world, "work_mem"), shown(world, "max_connections")) == ("12345kB", "77")
    assert has(world, instance_id) == (wanted, False, None)


async def test_created_with_a_group(world: World) -> None:
    wanted = group(world, {**LIVE, **AT_START})
    instance_id = await world.created(configuration_id=wanted)
    assert (shown(world, "work_mem"), shown(world, "max_connections")) == ("12345kB", "77")
    assert has(world, instance_id) == (wanted, False, None)
    await world.delete(instance_id)
    await world.ended(instance_id)
    assert has(world, instance_id) == (None, False, None)


async def test_an_engine_that_does_not_start_with_them_runs_as_it_was(world: World) -> None:
    instance_id, wanted = await with_a_row(world), group(world, {**LIVE, **AT_START})
    guest = world.guests[0]
    await (await reconfigure(world, instance_id, wanted)).result()
    before = shown(world, "max_connections")
    # an engine that refuses something in its file, as one of another build might
    assert guest.services is not None
    configuration = guest.services.configuration
    configuration._datastore.configure(1024, {**configuration.known.wanted, "no_such_parameter": "1"})
    with pytest.raises(WorkflowFailureError):
        await (await world.restart(instance_id)).result()
    assert (shown(world, "work_mem"), shown(world, "max_connections")) == ("12345kB", before)
    assert has(world, instance_id) == (wanted, True, None)
    reason = (await world.reader.list_operations(instance_id))[0].reason or ""
    assert "does not start with its settings" in reason
    assert "no_such_parameter" in reason
    await (await reconfigure(world, instance_id, None)).result()
    assert has(world, instance_id)[0] is None


@pytest.mark.parametrize("step", STEPS)
async def test_refuse_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    await world.end_watch(instance_id)
    before = shown(world, "work_mem")
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await (await reconfigure(world, instance_id, wanted)).result()
    assert (shown(world, "work_mem"), has(world, instance_id)) == (before, (None, False, None))
    assert (await world.reader.list_operations(instance_id))[0].state == "FAILED"
    await (await reconfigure(world, instance_id, wanted)).result()
    assert has(world, instance_id) == (wanted, False, None)


@pytest.mark.parametrize("step", ["change_settings", "admit", "note_steps", "close"])
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str) -> None:
    instance_id, wanted = await with_a_row(world), group(world, {**LIVE, **AT_START})
    await world.end_watch(instance_id)
    world.faults.lose.add(step)
    await (await reconfigure(world, instance_id, wanted)).result()
    assert (shown(world, "work_mem"), has(world, instance_id)) == ("12345kB", (wanted, True, None))


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    await world.end_watch(instance_id)
    before = shown(world, "work_mem")

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    with pytest.raises(WorkflowFailureError):
        await (await reconfigure(world, instance_id, wanted)).result()
    assert (shown(world, "work_mem"), has(world, instance_id)) == (before, (None, False, None))


@pytest.mark.parametrize("step", [*STEPS, "close"])
async def test_end_the_run_at_a_step_and_it_is_settled(world: World, step: str) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    before = shown(world, "work_mem")
    async with world.held(step) as held:
        run = await reconfigure(world, instance_id, wanted)
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    assert world.open_operations(instance_id) == 0
    attached = has(world, instance_id)
    assert attached in ((None, False, None), (wanted, False, None))
    assert shown(world, "work_mem") == ("12345kB" if attached[0] else before)


@pytest.mark.parametrize("step", STEPS)
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    instance_id, wanted = await world.created(), group(world, LIVE)
    await world.end_watch(instance_id)
    async with world.held(step) as held:
        await reconfigure(world, instance_id, wanted)
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    await nothing_is_left(world, instance_id)
    assert has(world, instance_id) == (None, False, None)


async def test_what_is_refused_touches_nothing(world: World) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    end = await (await reconfigure(world, instance_id, uuid4())).result()
    assert "cannot be found" in end
    end = await (await reconfigure(world, instance_id, group(world, LIVE, project="another"))).result()
    assert "cannot be found" in end
    await (await reconfigure(world, instance_id, wanted)).result()
    end = await (await reconfigure(world, instance_id, group(world, LIVE))).result()
    assert "already has a configuration group" in end
    assert has(world, instance_id) == (wanted, False, None)


async def test_the_guest_takes_only_what_is_offered(world: World) -> None:
    """Whatever the records say: a group that nobody could have made through the API."""
    instance_id = await with_a_row(world)
    for values in ({"archive_command": "touch /tmp/x"}, {"work_mem": "64kB'\nfsync = 'off"}, {"shared_buffers": "2GB"}):
        with pytest.raises(WorkflowFailureError):
            await (await reconfigure(world, instance_id, group(world, values))).result()
        assert has(world, instance_id) == (None, False, None)


async def change(world: World, wanted: UUID, request: str, values: dict[str, Any]) -> ConfigurationAnswer:
    """Change a group as the API does."""
    caller = Caller(project_id=PROJECT, request_id=request)
    told = ConfigurationChange(id=wanted, caller=caller, values=values)
    name = configuration_id(wanted, request)
    answer: ConfigurationAnswer = await world.client.execute_workflow(
        ChangeConfiguration.run, told, id=name, task_queue=RUNBOOKS
    )
    return answer


@pytest.mark.parametrize("lost", ["", "change_configuration", "start_when_free"])
async def test_a_change_of_a_group_reaches_its_instances(world: World, lost: str) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    await (await reconfigure(world, instance_id, wanted)).result()
    if lost:
        world.faults.lose.add(lost)
    answer = await change(world, wanted, f"req-{lost}", {"work_mem": 23456})
    (operation_id,) = answer.operations
    await world.client.get_workflow_handle(waiting_id(operation_id)).result()
    await world.ended(instance_id)
    assert (shown(world, "work_mem"), has(world, instance_id)) == ("23456kB", (wanted, False, None))
    assert [each.kind for each in await world.reader.list_operations(instance_id)].count("reconfigure") == 2


async def test_a_change_waits_for_what_is_under_way(world: World) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    await (await reconfigure(world, instance_id, wanted)).result()
    async with world.held("stop_datastore") as held:
        await world.restart(instance_id)
        await held.arrived()
        (operation_id,) = (await change(world, wanted, "req-waits", {"work_mem": 34567})).operations
        async with asyncio.timeout(30):
            while (await world.reader.list_operations(instance_id))[0].state != "WAITING":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
    await world.client.get_workflow_handle(waiting_id(operation_id)).result()
    await world.ended(instance_id)
    assert (shown(world, "work_mem"), has(world, instance_id)) == ("34567kB", (wanted, False, None))


async def test_who_was_away_is_told_by_the_sweep(world: World) -> None:
    instance_id, wanted = await with_a_row(world), group(world, LIVE)
    await (await reconfigure(world, instance_id, wanted)).result()
    sweeps = RepeatedSweeps(world.engine, world.client, Leftovers(Connections("coffer", 20)),
                            ActivitySettings(cloud="coffer"))  # fmt: skip
    await world.write("UPDATE operations SET created = created - interval '10 minutes'")
    await world.write("UPDATE instances SET configured = configured - interval '10 minutes'")
    await world.write("UPDATE configurations SET updated = clock_timestamp() - interval '2 minutes',"
                      """ values = '{"work_mem": 45678}'""")  # fmt: skip
    async with asyncio.timeout(30):
        while not await sweeps.refresh_configurations():  # noqa: ASYNC110 - once the watch has said that it serves
            await asyncio.sleep(0.2)
    await world.ended(instance_id)
    assert (shown(world, "work_mem"), has(world, instance_id)) == ("45678kB", (wanted, False, None))
    assert await sweeps.refresh_configurations() == 0


async def test_a_change_that_is_refused_changes_nothing(world: World) -> None:
    wanted = group(world, LIVE)
    answer = await change(world, wanted, "req-wrong", {"fsync": False})
    assert (answer.refused, answer.operations) == ("Unsupported", ())
    assert (await change(world, uuid4(), "req-gone", {})).refused == "NotFound"
