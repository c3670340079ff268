"""Every call is answered within ten seconds, and after a 503 nothing happens any more, whoever was away, or only slow."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api.faults import Fault
from tests.accounts.conftest import Host
from tests.accounts.test_all_or_nothing import databases, outcome
from workflows.domain.accounts import NewDatabase
from workflows.ports.guest import Accounts, DatabaseName, NewUsers

Pause = Callable[[int], None]


async def with_pause(pause: Pause, before: float, seconds: float, work: Awaitable[int]) -> int:
    """Do the work, while somebody is stopped (SIGSTOP) for some seconds of it."""
    running = asyncio.ensure_future(work)
    await asyncio.sleep(before)
    pause(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        pause(signal.SIGCONT)
    return await running


@pytest.mark.parametrize("before", [0.0, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("seconds", [2, 12])
@pytest.mark.parametrize("who", ["guest", "temporal"])
async def test_somebody_is_frozen(host: Host, who: str, before: float, seconds: float) -> None:
    pause: Pause = host.send if who == "guest" else lambda number: os.kill(host.temporal.pid, number)
    status = await with_pause(pause, before, seconds, outcome(host, Accounts.create_databases, databases(12)))
    await asyncio.sleep(4)
    assert (status, host.count("many")) in ((202, (12, 0)), (503, (0, 0)))
    assert await outcome(host, Accounts.create_databases, databases(1, "later")) == 202


async def test_a_guest_that_comes_too_late_does_nothing(host: Host) -> None:
    host.end()
    assert await outcome(host, Accounts.create_databases, databases(3)) == 503
    assert await outcome(host, Accounts.create_users, NewUsers(users=(host.user("many"),))) == 503
    host.start()
    await asyncio.sleep(4)
    assert host.count("many") == (0, 0)


async def test_a_deletion_that_comes_too_late_deletes_nothing(host: Host) -> None:
    host.accounts.create_database(NewDatabase(name="many"))
    host.send(signal.SIGSTOP)
    try:
        assert await outcome(host, Accounts.delete_database, DatabaseName(name="many")) == 503
    finally:
        host.send(signal.SIGCONT)
    await asyncio.sleep(4)
    assert host.count("many") == (1, 0)


async def test_what_cannot_be_done_in_time_is_refused_and_undone(host: Host) -> None:
    began = time.monotonic()
    with pytest.raises(Fault) as refused:
        await (await host.guests(3)).ask(Accounts.create_databases, databases(900))
    assert refused.value.code in (422, 503)
    assert time.monotonic() - began < 4
    for _ in range(50):
        if host.count("many") == (0, 0):
            break
        await asyncio.sleep(0.2)
    assert host.count("many") == (0, 0)


async def test_many_changes_at_once_leave_room_for_lists(host: Host) -> None:
    """One change runs, three wait; the others are refused at once, and lists are answered meanwhile."""
    changes = [
        asyncio.ensure_future(outcome(host, Accounts.create_databases, databases(10, f"many{each}x")))
        for each in range(16)
    ]
    await asyncio.sleep(0.2)
    lists = []
    for _ in range(5):
        began = time.monotonic()
        await (await host.guests()).ask(Accounts.list_users)
        lists.append(time.monotonic() - began)
    statuses = await asyncio.gather(*changes)
    assert max(lists) < 8, lists  # the machine may be busy with other tests, too
    assert set(statuses) <= {202, 422}
    assert host.count("many") == (10 * statuses.count(202), 0)
    assert 422 in statuses


async def test_a_repeated_request_has_the_first_answer(host: Host) -> None:
    """The same request id, as a proxy repeats it: done once, answered twice."""
    guests: Any = await host.guests()
    for _ in range(2):
        await guests.ask(Accounts.create_databases, databases(2))
    assert host.count("many") == (2, 0)
