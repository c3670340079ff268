"""A tenant's root that holds locks: a call is done, refused, or undone afterwards, in time; lists and health do not wait."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from contract.domain.instance import OperatingStatus
from guest_worker.calls import INTERRUPTED
from guest_worker.datastores.base import PartlyDone
from guest_worker.verbs.accounts import EngineAccounts
from tests.contracts.breaking import open_breaking
from tests.contracts.engines import DIALECTS
from tests.contracts.guest import GuestParts, a_guest, done
from tests.contracts.tables import Hold
from tests.contracts.test_half_done import CALLS, ROOT, furnish, outcome, state

LONGEST = 9.5  # seconds; the API answers within 10
SETTLED = 60.0
HELD = [
    pytest.param(manager, hold, id=f"{manager}-{hold.name.replace(' ', '_')}")
    for manager, dialect in DIALECTS.items()
    for hold in dialect.root_holds
]


@pytest.fixture(scope="module")
def guests() -> Iterator[Callable[[str], GuestParts]]:
    """One guest of each engine."""
    with ExitStack() as running:
        yield cache(lambda manager: running.enter_context(a_guest(manager, build=open_breaking)))


@pytest.fixture
def guest(request: pytest.FixtureRequest, guests: Callable[[str], GuestParts]) -> GuestParts:
    """With what the calls are about."""
    found = guests(request.param)
    furnish(found)
    return found


def timed(work: Callable[[], Any], seconds: float) -> Any:
    """Do it, in so many seconds; a refusal is returned."""
    began = time.monotonic()
    try:
        return work()
    except ApplicationError as error:
        return error
    finally:
        assert time.monotonic() - began < seconds


def settled(guest: GuestParts) -> Any:
    """All that there is, when what could not be undone at once was undone."""
    last = time.monotonic() + SETTLED
    while True:
        try:
            if not guest.services.calls.is_unsettled:
                return state(guest)
        except ApplicationError:
            assert time.monotonic() < last
        assert time.monotonic() < last, "it is not settled"
        time.sleep(0.1)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("guest", "hold"), HELD, indirect=["guest"])
def test_a_call_ends_in_time_and_says_what_is_true(guest: GuestParts, hold: Hold, name: str) -> None:
    dialect, before = DIALECTS[guest.manager], state(guest)
    with closing(dialect.connect(guest.address, "root", ROOT, hold.database)) as session:
        for statement in hold.statements:
            dialect.ask(session, statement)
        refused = timed(lambda: outcome(guest, name), LONGEST)
        timed(lambda: done(EngineAccounts(guest.services).list_users), LONGEST)
        condition = timed(guest.services.supervisor.condition, LONGEST)
        assert condition.status is OperatingStatus.HEALTHY, condition
    now = settled(guest)
    if refused is None or isinstance(refused, PartlyDone):
        assert now != before
    elif refused.message != INTERRUPTED:
        assert now == before, refused
        assert "locked" in refused.message
