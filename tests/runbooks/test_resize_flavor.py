"""A resize ends on the new flavor or as before, over each of its steps: refused, lost, cancelled, interrupted, deleted."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import WorkflowFailureError

from api.calls import ShortCalls
from api.context import RequestContext
from api.faults import Fault
from api.idempotency import Call
from api.keystone import Identity
from contract.domain.accounts import NewDatabase
from contract.keys.sealing import SecretBox
from contract.names import lock_id
from contract.ports.guest import Accounts, NewDatabases
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_delete_and_restart import answers, with_a_row
from tests.runbooks.world import PROJECT, World
from workflows.instance.resize_flavor import REASON

pytestmark = pytest.mark.asyncio(loop_scope="session")

TINY, SMALL = ("m1.tiny", 1024), ("m1.small", 2048)
BEFORE_CONFIRM = ("get_health", "close_gate", "stop_datastore", "resize_server", "require_server_resized",
                  "configure_datastore", "start_datastore", "open_gate")  # fmt: skip
STEPS = (*BEFORE_CONFIRM, "require_resize_confirmed")


def flavor(world: World, instance_id: UUID) -> tuple[Any, ...]:
    """Name and RAM as the records have it, and RAM that is charged."""
    return world.stack.sql(
        "SELECT flavor ->> 'name', (flavor ->> 'ram_mib')::int, amount FROM instances JOIN charges ON thing_id = id"
        " AND resource = 'ram' WHERE id = %s", instance_id, database=world.database,
    )[0]  # fmt: skip


async def is_on(world: World, instance_id: UUID, wanted: tuple[str, int]) -> None:
    """Records, quota, Nova and the engine's configuration agree; Nova waits for no word; the rows are there."""
    assert world.instance(instance_id)["status"] == "ACTIVE"
    assert flavor(world, instance_id) == (*wanted, wanted[1])
    conn: Any = world.stack.cloud("coffer")
    (server,) = await asyncio.to_thread(
        lambda: list(conn.compute.servers(details=True, name=f"^coffer-{instance_id}$"))
    )
    assert (server.status, server.flavor.original_name) == ("ACTIVE", wanted[0])
    await answers(world, 1)
    assert world.open_operations(instance_id) == 0


async def test_it_ends_on_the_new_flavor(world: World) -> None:
    instance_id = await with_a_row(world)
    await (await world.resize(instance_id)).result()
    await is_on(world, instance_id, SMALL)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("resize_flavor", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    await (await world.resize(instance_id, "m1.tiny")).result()  # and back
    await is_on(world, instance_id, TINY)


@pytest.mark.parametrize("step", STEPS)
async def test_refuse_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await (await world.resize(instance_id)).result()
    await is_on(world, instance_id, TINY)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.state, bool(operation.reason)) == ("FAILED", True)
    await (await world.resize(instance_id)).result()
    await is_on(world, instance_id, SMALL)


@pytest.mark.parametrize("step", (*STEPS[1:], "check_flavor", "admit", "note_steps", "close"))
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str) -> None:
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)
    world.faults.lose.add(step)
    await (await world.resize(instance_id)).result()
    assert step not in world.faults.lose
    await is_on(world, instance_id, SMALL)


@pytest.mark.parametrize("step", BEFORE_CONFIRM)
async def test_cancel_before_the_confirmation_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    with pytest.raises(WorkflowFailureError):
        await (await world.resize(instance_id)).result()
    await is_on(world, instance_id, TINY)
    assert (await world.reader.list_operations(instance_id))[0].state == "CANCELLED"


async def test_cancel_after_it_and_it_goes_forward(world: World) -> None:
    instance_id = await with_a_row(world)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at["require_resize_confirmed"] = cancel
    await (await world.resize(instance_id)).result()
    await is_on(world, instance_id, SMALL)


@pytest.mark.parametrize(
    ("step", "ends"),
    [*((step, TINY) for step in BEFORE_CONFIRM[1:]), ("require_resize_confirmed", None), ("close", SMALL)],
)
async def test_end_the_run_at_a_step_and_it_is_settled(world: World, step: str, ends: tuple[str, int] | None) -> None:
    """At the confirmation the attempt of the ended run may come first: then the new flavor stays, everywhere."""
    instance_id = await with_a_row(world)
    async with world.held(step) as held:
        run = await world.resize(instance_id)
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    await is_on(world, instance_id, ends or (SMALL if flavor(world, instance_id)[0] == "m1.small" else TINY))


@pytest.mark.parametrize("step", STEPS)
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    instance_id = await world.created()
    await world.end_watch(instance_id)
    async with world.held(step) as held:
        await world.resize(instance_id)
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


def calls(world: World, instance_id: UUID, status: str) -> ShortCalls:
    """As the API asks where it has read this status."""
    context = RequestContext(
        Identity(user_id="u", project_id=PROJECT, roles=()), False, f"req-{uuid4()}", "http://test"
    )
    instance: Any = SimpleNamespace(id=instance_id, name="db", status=status, operating_status="HEALTHY",
                                    manager="postgresql", datastore="postgresql")  # fmt: skip
    box = SecretBox(world.server.keyring, instance_id)
    return ShortCalls(world.client, context, instance, box, 8, Call(context.request_id))


@pytest.mark.parametrize("step", ["stop_datastore", "resize_server", "require_server_resized", "configure_datastore"])
async def test_account_calls_are_refused_with_the_reason_until_it_is_over(world: World, step: str) -> None:
    instance_id = await with_a_row(world)
    new = NewDatabases(databases=(NewDatabase(name="new"),))
    async with world.held(step) as held:
        run = await world.resize(instance_id)
        await held.arrived()
        with pytest.raises(Fault) as refused:
            await calls(world, instance_id, "RESIZE").ask(Accounts.create_databases, new)
        assert (refused.value.code, refused.value.message) == (
            422,
            f"Instance {instance_id} is not ready, status: RESIZE.",
        )
        with pytest.raises(Fault) as refused:  # a call that was on its way
            await calls(world, instance_id, "ACTIVE").ask(Accounts.create_databases, new)
        assert (refused.value.code, refused.value.message) == (422, f"Nothing was changed: {REASON}.")
        async with asyncio.timeout(30):
            while step != "stop_datastore" and world.seen(instance_id) != ("SHUTDOWN", REASON):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.2)
    await run.result()
    await calls(world, instance_id, "ACTIVE").ask(Accounts.create_databases, new)


async def test_nova_cannot_and_the_tenant_reads_why(world: World) -> None:
    instance_id = await with_a_row(world)
    world.stack.fault(server=f"coffer-{instance_id}")
    try:
        with pytest.raises(WorkflowFailureError):
            await (await world.resize(instance_id)).result()
    finally:
        world.stack.no_more_faults()
    await is_on(world, instance_id, TINY)
    reason = (await world.reader.list_operations(instance_id))[0].reason
    assert reason == "the cloud could not resize the server: No valid host was found."


@pytest.mark.parametrize(
    ("wanted", "why"),
    [("m1.tiny", "No change was requested"), ("1", "No change was requested"), ("no-such", "cannot be found"),
     ("00000000-0000-4000-8000-000000000000", "cannot be found")],
)  # fmt: skip
async def test_what_is_refused_touches_nothing(world: World, wanted: str, why: str) -> None:
    instance_id = await with_a_row(world)
    end = await (await world.resize(instance_id, wanted)).result()
    assert end.startswith("refused: ")
    assert why in end
    await is_on(world, instance_id, TINY)
    assert len(await world.reader.list_operations(instance_id)) == 1


async def test_a_flavor_beyond_the_quota_is_refused(world: World) -> None:
    instance_id = await with_a_row(world)
    ceiling = "UPDATE quotas SET ceiling = %s WHERE project_id = %s AND resource = 'ram'"
    await world.write(ceiling, 1, PROJECT)
    try:
        end = await (await world.resize(instance_id)).result()
    finally:
        await world.write(ceiling, -1, PROJECT)
    assert end == "refused: Quota exceeded for resources: ['ram']."
    await is_on(world, instance_id, TINY)
