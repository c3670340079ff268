"""The door itself falls, or what is behind it: operations go on, and no task is lost."""

import asyncio
import os
import signal
import time
from pathlib import Path

import grpc
import pytest

from gateway.server import WORKER
from tests.gateway import running_gateway
from tests.redteam.field import Field, Thief, ask
from tests.redteam.http2 import DATA, END_STREAM, connected, frame, message
from tests.redteam.puppet import completed, end_of, say, sealed_json, settled
from tests.temporal import free_port
from workflows.answers import from_guest
from workflows.ports.guest import DatabaseList

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_gateway_is_killed_and_comes_back(field: Field) -> None:
    """In the middle of a step of the victim's: its worker, a real one, dials again, and says what it did."""
    async with field.attack() as loot:
        await asyncio.to_thread(field.world.gateway.kill)
        await asyncio.to_thread(field.world.gateway.start)
        loot.got = "killed and started again"


async def test_a_task_that_comes_while_the_gateway_is_away(field: Field) -> None:
    """Open polls are ended before the gateway is: a task must not go to a poll that nobody hears any more."""
    async with field.attack() as loot:
        pass_on = await asyncio.to_thread(field.world.gateway.end)
        call = await ask(field.world, field.victim.instance_id, "list_databases", seconds=60)
        await asyncio.to_thread(field.world.gateway.start)
        began = time.monotonic()
        raw = await asyncio.wait_for(call.result(), 30)
        loot.got = f"ended with {pass_on}; the task was done {time.monotonic() - began:.1f} s after the start"
        assert "app" in from_guest(raw, field.victim.instance_id, DatabaseList).databases


async def test_a_gateway_that_ends_under_a_stream_of_tasks(field: Field) -> None:
    """Restarted gracefully while short calls come in: each of them is done, by attempts that the API makes anyhow."""
    async with field.attack() as loot:
        restarting = asyncio.create_task(asyncio.to_thread(_restart, field))
        calls = []
        while not restarting.done():
            calls.append(await ask(field.world, field.victim.instance_id, "get_health", seconds=30))
            await asyncio.sleep(0.1)
        await restarting
        done = await asyncio.gather(*(asyncio.wait_for(each.result(), 35) for each in calls), return_exceptions=True)
        lost = [each for each in done if isinstance(each, BaseException)]
        loot.got = f"{len(done) - len(lost)} of {len(done)} calls done"
        assert not lost


def _restart(field: Field) -> None:
    field.world.gateway.end()
    field.world.gateway.start()


async def test_temporal_stands_still(field: Field, thief: Thief) -> None:
    """For five seconds: a guest is told to come again, and nothing else changes."""
    async with field.attack() as loot:
        pid = field.world.server.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            got = await thief.call("PollActivityTaskQueue", b"", seconds=5)
        finally:
            os.kill(pid, signal.SIGCONT)
        loot.got = str(got)
        assert got.code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    await settled(thief)


async def test_the_records_are_away(field: Field, thief: Thief, tmp_path: Path) -> None:
    """Nobody can say whose token it is: that is no reason to tell a guest that it is nobody."""
    world = field.world
    away = f"postgresql+psycopg://coffer@127.0.0.1:{free_port()}/none"
    async with field.attack() as loot:
        with running_gateway(
            tmp_path, world.server.keyring, temporal=world.server.address, records_url=away
        ) as gateway:
            trust = grpc.ssl_channel_credentials(gateway.ca.encode())
            async with grpc.aio.secure_channel(gateway.address, trust) as channel:
                other = Thief(thief.known, thief.instance_id, world, channel)
                got = await other.call("GetSystemInfo", b"")
        loot.got = str(got)
        assert got.code is grpc.StatusCode.UNAVAILABLE


async def test_a_guest_that_dies_while_it_polls(field: Field, thief: Thief) -> None:
    """Its poll dies with it, all the way to Temporal: the next task goes to who polls next."""
    async with field.attack() as loot:
        async with connected(field.world) as connection:
            number, opening = connection.open(f"{WORKER}PollActivityTaskQueue", thief.known.token)
            await connection.send(opening, frame(DATA, END_STREAM, number, message(b"")))
            await asyncio.sleep(0.5)
            connection.cut()
        call = await ask(field.world, thief.instance_id, "list_databases")
        began = time.monotonic()
        task = await thief.poll()
        took = time.monotonic() - began
        await say(thief, completed(task, sealed_json(thief, b'{"databases": ["app"]}')))
        loot.got = f"the task came after {took:.2f} s: {await end_of(thief, call)}"
        assert took < 2
