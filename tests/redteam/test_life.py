"""The door itself falls, or what is behind it: operations go on, and no task is lost."""

import asyncio
import os
import signal
import time
from pathlib import Path

import grpc
import pytest

from contract.ports.guest import DatabaseList
from contract.wire.answers import from_guest
from gateway.server import WORKER
from tests.gateway_process import running_gateway
from tests.redteam.http2 import DATA, END_STREAM, connected, frame, message
from tests.redteam.raw_requests import completed, sealed_json
from tests.redteam.scenario import Attacker, Scenario, ask
from tests.redteam.stolen_calls import end_of, say, settled
from tests.temporal import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_gateway_is_killed_and_comes_back(scenario: Scenario) -> None:
    """In the middle of a step of the victim's: its worker, a real one, dials again, and says what it did."""
    async with scenario.attack() as outcome:
        await asyncio.to_thread(scenario.world.gateway.kill)
        await asyncio.to_thread(scenario.world.gateway.start)
        outcome.got = "killed and started again"


async def test_a_task_that_comes_while_the_gateway_is_away(scenario: Scenario) -> None:
    """Open polls are ended before the gateway is: a task must not go to a poll that nobody hears any more."""
    async with scenario.attack() as outcome:
        pass_on = await asyncio.to_thread(scenario.world.gateway.end)
        call = await ask(scenario.world, scenario.victim.instance_id, "list_databases", seconds=60)
        await asyncio.to_thread(scenario.world.gateway.start)
        began = time.monotonic()
        raw = await asyncio.wait_for(call.result(), 30)
        outcome.got = f"ended with {pass_on}; the task was done {time.monotonic() - began:.1f} s after the start"
        assert "app" in from_guest(raw, scenario.victim.instance_id, DatabaseList).databases


async def test_a_gateway_that_ends_under_a_stream_of_tasks(scenario: Scenario) -> None:
    """Restarted gracefully while short calls come in: each of them is done, by attempts that the API makes anyhow."""
    async with scenario.attack() as outcome:
        restarting = asyncio.create_task(asyncio.to_thread(_restart, scenario))
        calls = []
        while not restarting.done():
            calls.append(await ask(scenario.world, scenario.victim.instance_id, "get_health", seconds=30))
            await asyncio.sleep(0.1)
        await restarting
        done = await asyncio.gather(*(asyncio.wait_for(each.result(), 35) for each in calls), return_exceptions=True)
        lost = [each for each in done if isinstance(each, BaseException)]
        outcome.got = f"{len(done) - len(lost)} of {len(done)} calls done"
        assert not lost


def _restart(scenario: Scenario) -> None:
    scenario.world.gateway.end()
    scenario.world.gateway.start()


async def test_temporal_stands_still(scenario: Scenario, attacker: Attacker) -> None:
    """For five seconds: a guest is told to come again, and nothing else changes."""
    async with scenario.attack() as outcome:
        pid = scenario.world.server.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            got = await attacker.call("PollActivityTaskQueue", b"", seconds=5)
        finally:
            os.kill(pid, signal.SIGCONT)
        outcome.got = str(got)
        assert got.code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    await settled(attacker)


async def test_the_records_are_away(scenario: Scenario, attacker: Attacker, tmp_path: Path) -> None:
    """Nobody can say whose token it is: that is no reason to tell a guest that it is nobody."""
    world = scenario.world
    away = f"postgresql+psycopg://coffer@127.0.0.1:{free_port()}/none"
    async with scenario.attack() as outcome:
        with running_gateway(
            tmp_path, world.server.keyring, temporal=world.server.address, records_url=away
        ) as gateway:
            trust = grpc.ssl_channel_credentials(gateway.ca.encode())
            async with grpc.aio.secure_channel(gateway.address, trust) as channel:
                other = Attacker(attacker.known, attacker.instance_id, world, channel)
                got = await other.call("GetSystemInfo", b"")
        outcome.got = str(got)
        assert got.code is grpc.StatusCode.UNAVAILABLE


async def test_a_guest_that_dies_while_it_polls(scenario: Scenario, attacker: Attacker) -> None:
    """Its poll dies with it, all the way to Temporal: the next task goes to who polls next."""
    async with scenario.attack() as outcome:
        async with connected(scenario.world.gateway) as connection:
            number, opening = connection.open(f"{WORKER}PollActivityTaskQueue", attacker.known.token)
            await connection.send(opening, frame(DATA, END_STREAM, number, message(b"")))
            await asyncio.sleep(0.5)
            connection.cut()
        call = await ask(scenario.world, attacker.instance_id, "list_databases")
        began = time.monotonic()
        task = await attacker.poll()
        took = time.monotonic() - began
        await say(attacker, completed(task, sealed_json(attacker, b'{"databases": ["app"]}')))
        outcome.got = f"the task came after {took:.2f} s: {await end_of(attacker, call)}"
