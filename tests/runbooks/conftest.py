"""The world as each test finds it: without faults and guests of another test."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.runbooks.world import World


@pytest_asyncio.fixture(loop_scope="session")
async def world(whole_world: World) -> AsyncIterator[World]:
    """The world without faults and without guests."""
    whole_world.faults.clear()
    yield whole_world
    whole_world.faults.clear()
    await whole_world.end_guests()
