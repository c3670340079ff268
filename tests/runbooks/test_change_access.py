"""A change of access ends as ordered or as before, over each of its steps: refused, lost, cancelled, interrupted."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import WorkflowFailureError

from contract.domain.access import AccessChange
from contract.domain.instance import Access
from contract.names import lock_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN, NARROW = Access(), Access(is_public=True, allowed_cidrs=("192.0.2.0/24", "198.51.100.7/32"))
CHANGE = AccessChange(is_public=True, allowed_cidrs=("192.0.2.9/24", "198.51.100.7", "192.0.2.0/24"))
STEPS = ("set_access_rules", "create_floating_ip")
BACK = ("delete_floating_ips_of", "set_access_rules")


async def has(world: World, instance_id: UUID, wanted: Access) -> None:
    """Records, Neutron's rules and floating IPs agree."""
    (row,) = world.stack.sql("SELECT status, access, addresses FROM instances WHERE id = %s", instance_id,
                             database=world.database)  # fmt: skip
    assert (row[0], Access.model_validate(row[1])) == ("ACTIVE", wanted)
    name, network = f"coffer-{instance_id}", world.stack.cloud("coffer").network
    (group,) = await asyncio.to_thread(lambda: list(network.security_groups(name=name)))
    rules = await asyncio.to_thread(
        lambda: list(network.security_group_rules(security_group_id=group.id, direction="ingress"))
    )
    assert {(each.port_range_min, each.remote_ip_prefix) for each in rules} == {
        (5432, each) for each in wanted.allowed_cidrs or ("0.0.0.0/0",)
    }
    assert len(rules) == len(wanted.allowed_cidrs or ("",))
    public = await asyncio.to_thread(lambda: [each.floating_ip_address for each in network.ips(description=name)])
    assert [each["address"] for each in row[2] if each["type"] == "public"] == public
    assert len(public) == int(wanted.is_public)
    assert row[2][0]["type"] == "private"
    assert world.open_operations(instance_id) == 0


async def change(world: World, instance_id: UUID, wanted: AccessChange = CHANGE) -> Any:
    """Have it changed, and return how the run ended."""
    return await (await world.change_access(instance_id, wanted)).result()


async def test_there_and_back_and_twice(world: World) -> None:
    instance_id = await world.created()
    for _ in range(2):
        assert await change(world, instance_id) is None
        await has(world, instance_id, NARROW)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("change_access", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    await change(world, instance_id, AccessChange(allowed_cidrs=("0.0.0.0/0",)))  # what is left out stays
    await has(world, instance_id, Access(is_public=True, allowed_cidrs=("0.0.0.0/0",)))
    await change(world, instance_id, AccessChange(is_public=False, allowed_cidrs=()))
    await has(world, instance_id, OPEN)


@pytest.mark.parametrize("step", STEPS)
async def test_refuse_a_step_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await world.created()
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await change(world, instance_id)
    await has(world, instance_id, OPEN)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.state, bool(operation.reason)) == ("FAILED", True)
    await change(world, instance_id)
    await has(world, instance_id, NARROW)


@pytest.mark.parametrize("step", BACK)
async def test_refuse_a_step_of_the_way_back_and_it_is_public_as_it_was(world: World, step: str) -> None:
    instance_id = await world.created(access=NARROW)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await change(world, instance_id, AccessChange(is_public=False, allowed_cidrs=()))
    await has(world, instance_id, NARROW)


@pytest.mark.parametrize("step", (*STEPS, "admit", "note_steps", "close"))
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str) -> None:
    instance_id = await world.created()
    world.faults.lose.add(step)
    if step == "note_steps":
        world.slow("set_access_rules")
    await change(world, instance_id)
    assert step not in world.faults.lose
    await has(world, instance_id, NARROW)


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_it_and_it_is_as_it_was(world: World, step: str) -> None:
    instance_id = await world.created()

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    with pytest.raises(WorkflowFailureError):
        await change(world, instance_id)
    await has(world, instance_id, OPEN)
    assert (await world.reader.list_operations(instance_id))[0].state == "CANCELLED"


@pytest.mark.parametrize(("step", "ends"), [*((step, OPEN) for step in STEPS), ("close", OPEN)])
async def test_end_the_run_at_a_step_and_it_is_as_the_records_have_it(world: World, step: str, ends: Access) -> None:
    instance_id = await world.created()
    async with world.held(step) as held:
        run = await world.change_access(instance_id, CHANGE)
        await held.arrived()
        await run.terminate("the test")
        await asyncio.sleep(0)
    async with asyncio.timeout(30):  # the attempt of the ended run comes to its end first
        while step not in world.faults.done:
            await asyncio.sleep(0.1)
            if step == "close":
                break
    await world.settle(instance_id)
    await world.ended(instance_id)
    narrow = world.stack.sql("SELECT access ->> 'is_public' FROM instances WHERE id = %s", instance_id,
                             database=world.database) == [("true",)]  # fmt: skip
    assert step == "close" or not narrow
    await has(world, instance_id, NARROW if narrow else ends)


@pytest.mark.parametrize("step", STEPS)
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    instance_id = await world.created()
    async with world.held(step) as held:
        await world.change_access(instance_id, CHANGE)
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)


@pytest.mark.parametrize(
    "cidr", ["::ffff:192.0.2.0/120", "2001:db8::/32", "192.0.2.0/255.255.255.0", "x", "1.2.3/8", "1.2.3.4/33"]
)
async def test_what_is_no_cidr_is_refused_and_touches_nothing(world: World, cidr: str) -> None:
    instance_id = await world.created()
    end = await change(world, instance_id, AccessChange(allowed_cidrs=("192.0.2.0/24", cidr)))
    assert end == f"refused: '{cidr}' is not an IPv4 address or CIDR"
    await has(world, instance_id, OPEN)
    assert len(await world.reader.list_operations(instance_id)) == 1


async def test_a_group_that_is_gone_is_told(world: World) -> None:
    instance_id = await world.created()
    world.stack.fault(service="network", method="GET", path="/security-groups$", status=200, count=2,
                      answer={"security_groups": []})  # fmt: skip
    try:
        with pytest.raises(WorkflowFailureError):
            await change(world, instance_id)
    finally:
        world.stack.no_more_faults()
    reason = (await world.reader.list_operations(instance_id))[0].reason
    gone = f"the security group of {instance_id} is gone from Neutron"
    assert reason == f"{gone}; it could not be put back ({gone}): change the access again"
    await change(world, instance_id)
    await has(world, instance_id, NARROW)
