"""What the watch sees is at most a minute old, and has a sentence."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import pytest

from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SEEN_WITHIN = 90.0  # seconds: a minute, and half of one for a busy machine


def seen(world: World, instance_id: UUID) -> tuple[str, str | None]:
    """Operating status and its reason, as the records have them."""
    rows = world.stack.sql("SELECT operating_status, operating_status_reason FROM instances WHERE id = %s", instance_id,
                           database=world.database)  # fmt: skip
    return rows[0][0], rows[0][1]


async def until(world: World, instance_id: UUID, status: str) -> str | None:
    """Wait until the watch has seen a status; return the reason."""
    await so(lambda: seen(world, instance_id)[0] == status)
    return seen(world, instance_id)[1]


async def so(look: Callable[[], bool]) -> None:
    """Wait until it is so."""
    last = time.monotonic() + SEEN_WITHIN
    while not await asyncio.to_thread(look):
        assert time.monotonic() < last
        await asyncio.sleep(0.2)


async def test_what_it_sees_before_the_records_know_of_the_server_is_not_lost(world: World) -> None:
    """What a creation makes is noted behind its steps; the watch may be faster."""
    order = world.order()
    async with world.held("note_steps") as notes:
        creation = await world.start(order)
        await notes.arrived()
        await so(lambda: "record_health" in world.faults.done)
        assert seen(world, order.instance_id) == ("", None)
    await creation.result()
    last_seen = "SELECT service_status_updated IS NULL FROM instances WHERE id = %s"
    await so(lambda: world.stack.sql(last_seen, order.instance_id, database=world.database) == [(False,)])
    assert seen(world, order.instance_id) == ("HEALTHY", None)


HARMS = {"delete": "deleted in Nova", "stop": "stopped in Nova"}


async def test_servers_that_were_harmed_behind_our_back(world: World) -> None:
    """Side by side, for each is a minute of waiting."""
    made = [await world.created() for _ in HARMS]
    compute = world.stack.cloud("coffer").compute
    for instance_id, guest, harm in zip(made, world.guests, HARMS, strict=True):
        await until(world, instance_id, "HEALTHY")
        server = next(each for each in compute.servers() if each.name == f"coffer-{instance_id}")
        await asyncio.to_thread(compute.delete_server if harm == "delete" else compute.stop_server, server.id)
        await guest.faint()
    for instance_id, words in zip(made, HARMS.values(), strict=True):
        assert words in str(await until(world, instance_id, "ERROR"))
    for instance_id in made:
        await world.delete(instance_id)
        await world.ended(instance_id)
        assert await world.belongings(instance_id) == []
