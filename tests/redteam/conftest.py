"""One field for all attacks: a stolen guest and a victim, made once."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio

from tests.redteam.field import Field, Thief, Victim
from tests.redteam.newcomers import Newcomer
from tests.redteam.report import Report
from tests.runbooks.world import World
from workflows.names import watch_id

REPORT = Report()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole_field(whole_world: World) -> AsyncIterator[Field]:
    """Two instances made by the runbook; the guest of the second is then stolen: its worker stopped, its disk read."""
    whole_world.faults.clear()
    await whole_world.created()
    victim = Victim(whole_world, whole_world.guests[-1])
    await whole_world.created()
    stolen = whole_world.guests[-1]
    await stolen.faint()
    # its watch would go on asking the stolen guest: cases want a queue with nothing in it but what they put there
    await whole_world.client.get_workflow_handle(watch_id(stolen.instance_id)).terminate("the guest is stolen")
    thief = Thief.of(whole_world, stolen)
    yield Field(whole_world, thief, victim, REPORT)
    await thief.close()
    whole_world.faults.clear()
    await whole_world.end_guests()


@pytest_asyncio.fixture(loop_scope="session")
async def field(whole_field: Field, request: pytest.FixtureRequest) -> AsyncIterator[Field]:
    """The field, for one case; its name in the table is the test's. The thief connects anew."""
    whole_field.report.case = request.node.name.removeprefix("test_").replace("_", " ")
    whole_field.world.faults.clear()
    case = replace(whole_field, thief=whole_field.thief.reconnected())
    yield case
    await case.thief.close()
    whole_field.world.faults.clear()


@pytest.fixture
def thief(field: Field) -> Thief:
    """Who attacks."""
    return field.thief


@pytest_asyncio.fixture(loop_scope="session")
async def newcomer(field: Field) -> AsyncIterator[Newcomer]:
    """An instance whose guest has not enrolled yet."""
    newcomer = await Newcomer.expected(field.world)
    yield newcomer
    await newcomer.leave()


@pytest_asyncio.fixture(loop_scope="session")
async def other(newcomer: Newcomer) -> Thief:
    """Another guest, honest, whose part the test plays: nobody else polls its queue."""
    return await newcomer.enrol()


@pytest_asyncio.fixture(loop_scope="session")
async def deleted(deleted_guest: Thief) -> AsyncIterator[Thief]:
    """Whoever knows all of a deleted instance, on a new connection."""
    thief = deleted_guest.reconnected()
    yield thief
    await thief.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deleted_guest(whole_field: Field) -> AsyncIterator[Thief]:
    """What can be known of an instance that the runbook has deleted: its guest's disk was read before."""
    world = whole_field.world
    world.faults.clear()
    await world.created()
    guest = world.guests.pop()
    gone = Thief.of(world, guest)
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
