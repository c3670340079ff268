"""One scenario for all attacks: a stolen guest and a victim, made once."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio

from contract.names import watch_id
from tests.redteam.newcomers import Newcomer
from tests.redteam.report import Report
from tests.redteam.scenario import Attacker, Scenario, Victim
from tests.runbooks.world import World

REPORT = Report()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole_field(whole_world: World) -> AsyncIterator[Scenario]:
    """Two instances made by the runbook; the guest of the second is then stolen: its worker stopped, its disk read."""
    whole_world.faults.clear()
    await whole_world.created()
    victim = Victim(whole_world, whole_world.guests[-1])
    await whole_world.created()
    stolen = whole_world.guests[-1]
    await stolen.faint()
    # its watch would go on asking the stolen guest: cases want a queue with nothing in it but what they put there
    await whole_world.client.get_workflow_handle(watch_id(stolen.instance_id)).terminate("the guest is stolen")
    attacker = Attacker.of(whole_world, stolen)
    yield Scenario(whole_world, attacker, victim, REPORT)
    await attacker.close()
    whole_world.faults.clear()
    await whole_world.end_guests()


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(whole_field: Scenario, request: pytest.FixtureRequest) -> AsyncIterator[Scenario]:
    """The scenario, for one case; its name in the table is the test's. The attacker connects again."""
    whole_field.report.case = request.node.name.removeprefix("test_").replace("_", " ")
    whole_field.world.faults.clear()
    case = replace(whole_field, attacker=whole_field.attacker.reconnected())
    yield case
    await case.attacker.close()
    whole_field.world.faults.clear()


@pytest.fixture
def attacker(scenario: Scenario) -> Attacker:
    """Who attacks."""
    return scenario.attacker


@pytest_asyncio.fixture(loop_scope="session")
async def newcomer(scenario: Scenario) -> AsyncIterator[Newcomer]:
    """An instance whose guest has not enrolled yet."""
    newcomer = await Newcomer.expected(scenario.world)
    yield newcomer
    await newcomer.leave()


@pytest_asyncio.fixture(loop_scope="session")
async def other(newcomer: Newcomer) -> Attacker:
    """Another guest, honest, whose part the test plays: nobody else polls its queue."""
    return await newcomer.enrol()


@pytest_asyncio.fixture(loop_scope="session")
async def deleted(deleted_guest: Attacker) -> AsyncIterator[Attacker]:
    """Whoever knows all of a deleted instance, on a new connection."""
    attacker = deleted_guest.reconnected()
    yield attacker
    await attacker.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deleted_guest(whole_field: Scenario) -> AsyncIterator[Attacker]:
    """What can be known of an instance that the runbook has deleted: its guest's disk was read before."""
    world = whole_field.world
    world.faults.clear()
    await world.created()
    guest = world.guests.pop()
    gone = Attacker.of(world, guest)
    await world.delete(guest.instance_id)
    await world.ended(guest.instance_id)
    await guest.end()
    yield gone
    await gone.close()


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None] | None:
    """Print the table, where the red team ran."""
    if REPORT.lines:
        terminalreporter.section("red team")
        terminalreporter.write_line(REPORT.table())
        terminalreporter.write_line(f"{len(REPORT.lines)} cases")
    return None
