"""What the watch sees is at most a minute old, and has a sentence."""

import asyncio
import time
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
    last = time.monotonic() + SEEN_WITHIN
    while (found := await asyncio.to_thread(seen, world, instance_id))[0] != status:
        assert time.monotonic() < last, found
        await asyncio.sleep(0.5)
    return found[1]


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
