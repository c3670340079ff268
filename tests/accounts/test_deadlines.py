"""Every call is answered within ten seconds, and after a 503 nothing happens any more, whoever was away, or only slow."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.faults import Fault
from contract.domain.accounts import NewDatabase, UserName
from contract.ports.guest import Accounts, DatabaseName, NewDatabases, NewUsers
from tests.accounts.conftest import Host
from tests.accounts.test_all_or_nothing import databases, outcome, settled, status_of
from tests.machine import processes_below

ROOT_PASSWORD = "root's Password 1"
LISTED = 2.5  # seconds; an engine waits for at most one, and the machine may be busy
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


async def nothing_more(host: Host, expected: tuple[int, int]) -> None:
    """The guest does another call, and has done nothing that came before it and was too late."""
    async with asyncio.timeout(60):
        while await outcome(host, Accounts.create_databases, databases(1, "later")) != 202:  # noqa: ASYNC110
            await asyncio.sleep(0.5)  # it may have to undo a lot first, and tells nobody when it has
    await asyncio.sleep(1)  # calls run beside each other
    assert host.count("many") == expected


@pytest.mark.parametrize("before", [0.0, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("seconds", [2, 12])
@pytest.mark.parametrize("who", ["guest", "temporal"])
async def test_somebody_is_frozen(host: Host, who: str, before: float, seconds: float) -> None:
    pause: Pause = host.send if who == "guest" else lambda number: os.kill(host.temporal.pid, number)
    call = status_of(await host.guests(), Accounts.create_databases, databases(12))
    status = await with_pause(pause, before, seconds, call)
    assert status in (202, 422, 503)  # 422: what is left of the time is too short for all, on a busy machine
    expected = (12 if status == 202 else 0, 0)
    assert await settled(host, "many", expected) == expected
    await nothing_more(host, expected)


async def test_a_guest_that_comes_too_late_does_nothing(host: Host) -> None:
    host.end()
    assert await outcome(host, Accounts.create_databases, databases(3)) == 503
    assert await outcome(host, Accounts.create_users, NewUsers(users=(host.user("many"),))) == 503
    host.start()
    await nothing_more(host, (0, 0))


async def test_a_deletion_that_comes_too_late_deletes_nothing(host: Host) -> None:
    host.accounts.create_database(NewDatabase(name="many"))
    host.send(signal.SIGSTOP)
    try:
        assert await outcome(host, Accounts.delete_database, DatabaseName(name="many")) == 503
    finally:
        host.send(signal.SIGCONT)
    await nothing_more(host, (1, 0))


async def test_a_drop_that_waits_for_a_checkpoint_is_answered_in_time(host: Host) -> None:
    """PostgreSQL has marked the database by then, and lets nobody in any more. It goes as soon as it can, without a call."""
    if host.dialect.manager != "postgresql":
        pytest.skip("no other engine's drop waits for a checkpoint")
    host.accounts.create_database(NewDatabase(name="many"))
    before = len(list((host.folder / "data/postgresql/base").iterdir()))
    (checkpointer,) = [
        pid for pid in processes_below(host.folder) if b"checkpointer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    again = NewDatabases(databases=(NewDatabase(name="many"),))
    os.kill(checkpointer, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert await outcome(host, Accounts.delete_database, DatabaseName(name="many")) == 202
        assert time.monotonic() - began < 8
        assert (await (await host.guests()).ask(Accounts.list_databases)).databases == ()
        assert await outcome(host, Accounts.create_databases, again) == 422
    finally:
        os.kill(checkpointer, signal.SIGCONT)
    folders, last = host.folder / "data/postgresql/base", time.monotonic() + 30
    while len(list(folders.iterdir())) >= before:
        assert time.monotonic() < last, "its files are still there"
        await asyncio.sleep(0.1)
    while await outcome(host, Accounts.create_databases, again) != 202:
        assert time.monotonic() < last, "its name is still taken"
    assert host.count("many") == (1, 0)


async def test_lists_wait_neither_for_root_s_locks_nor_for_a_change_that_waits_for_them(host: Host) -> None:
    if host.dialect.manager == "postgresql":
        pytest.skip("not seen to pass: PostgreSQL's lists wait a second for a locked catalog, then for who holds it")
    host.accounts.create_database(NewDatabase(name="app"))
    host.accounts.enable_root(ROOT_PASSWORD)
    for hold in host.dialect.root_holds[1::2]:
        for name in ("amy", "bob"):
            host.make(name)
        with closing(host.dialect.connect(host.address, "root", ROOT_PASSWORD, hold.database)) as session:
            for statement in hold.statements:
                host.dialect.ask(session, statement)
            order = NewUsers(users=(host.user("many"),))
            change = asyncio.ensure_future(status_of(await host.guests(), Accounts.create_users, order))
            guests, began = await host.guests(), time.monotonic()
            while time.monotonic() - began < 1.2:
                asked = time.monotonic()
                told = await status_of(guests, Accounts.list_users, None)
                assert (told, time.monotonic() - asked < LISTED) in ((202, True), (422, True)), hold
                guests = await host.guests()
                await asyncio.sleep(0.1)
        assert await change in (202, 422, 503)
        wanted = (0, int(await change == 202))
        assert await settled(host, "many", wanted) == wanted
        for each in host.accounts.list_users():
            host.accounts.delete_user(UserName(name=each.name, host=each.host))
    host.accounts.disable_root()


async def test_what_cannot_be_done_in_time_is_refused_and_undone(host: Host) -> None:
    began = time.monotonic()
    with pytest.raises(Fault) as refused:
        await (await host.guests(3)).ask(Accounts.create_databases, databases(3000))
    assert refused.value.code in (422, 503)
    assert time.monotonic() - began < 10  # the API's promise
    assert await settled(host, "many", (0, 0)) == (0, 0)


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
