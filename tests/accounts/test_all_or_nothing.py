"""An account call changes all of what it says, or nothing: whatever fails, and whenever the guest worker ends or is killed."""

import asyncio
import signal
import time
from typing import Any

import pytest

from api.calls import ShortCalls
from api.faults import Fault
from contract.domain.accounts import Grant, NewDatabase, User, UserChange, UserName
from contract.ports.guest import Accounts, DatabaseName, NewDatabases, NewUsers, PasswordChanges, UserToDelete
from tests.accounts.conftest import Host
from tests.machine import kill_below

MANY = 60
SHORT = 5.0  # seconds for a call whose guest is killed: nobody answers it before they are over; deletions get more


def databases(count: int, prefix: str = "many") -> NewDatabases:
    return NewDatabases(databases=tuple(NewDatabase(name=f"{prefix}{number}") for number in range(count)))


async def outcome(host: Host, verb: Any, order: Any, seconds: float = 8) -> int:
    """Ask as the API does; the status that it would answer."""
    return await status_of(await host.guests(seconds), verb, order)


async def status_of(guests: ShortCalls, verb: Any, order: Any) -> int:
    """Ask over a connection that stands already, as the API's does; the status that it would answer, in time."""
    began = time.monotonic()
    try:
        await guests.ask(verb, *([] if order is None else [order]))
    except Fault as fault:
        return fault.code
    finally:
        assert time.monotonic() - began < guests.seconds + 2
    return 202


async def settled(host: Host, prefix: str, wanted: tuple[int, int]) -> tuple[int, int]:
    """What is there, once the guest has put things right; at the latest after ten seconds."""
    for _ in range(50):
        found = host.count(prefix)
        if found == wanted:
            break
        await asyncio.sleep(0.2)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
@pytest.mark.parametrize("after", [0.02, 0.15, 0.5])
@pytest.mark.parametrize("what", ["databases", "users"])
async def test_the_guest_worker_ends_in_the_middle(host: Host, number: int, after: float, what: str) -> None:
    host.accounts.create_database(NewDatabase(name="app"))
    if what == "databases":
        asked = outcome(host, Accounts.create_databases, databases(MANY), SHORT)
    else:
        users = tuple(host.user(f"many{each}", "app") for each in range(MANY))
        asked = outcome(host, Accounts.create_users, NewUsers(users=users), SHORT)
    running = asyncio.ensure_future(asked)
    await asyncio.sleep(after)
    await asyncio.to_thread(host.end, number)
    await asyncio.to_thread(host.start)
    status = await running
    assert status in (202, 422, 503)
    wanted = 0 if status != 202 else MANY
    expected = (wanted, 0) if what == "databases" else (0, wanted)
    assert await settled(host, "many", expected) == expected
    if what == "users" and wanted:
        granted = {each.databases for each in host.accounts.list_users()}
        assert granted == {("app",)}
    assert await outcome(host, Accounts.create_databases, databases(1, "later")) == 202


async def test_one_that_is_taken_refuses_all(host: Host) -> None:
    host.accounts.create_database(NewDatabase(name="many7"))
    assert await outcome(host, Accounts.create_databases, databases(9)) == 400
    assert host.count("many") == (1, 0)


async def test_a_user_whose_database_is_missing_refuses_all(host: Host) -> None:
    host.accounts.create_database(NewDatabase(name="app"))
    users = (host.user("many1", "app"), host.user("many2", "app", "none"))
    assert await outcome(host, Accounts.create_users, NewUsers(users=users)) == 404
    assert host.count("many") == (0, 0)


async def test_a_password_that_the_engine_refuses_leaves_the_old_name(host: Host) -> None:
    """The last part of a change fails; what came before is undone."""
    host.accounts.create_database(NewDatabase(name="app"))
    host.make("amy", "app")
    host.make("bob", "app")
    amy = UserName(name="amy")
    stranger = host.user("x").password.model_copy(update={"sealed": "AAAA"})
    change = UserChange(user=amy, new_name="anna", new_password=stranger)
    assert await outcome(host, Accounts.update_user, change) == 400
    assert await outcome(host, Accounts.update_user, UserChange(user=amy, new_name="bob")) == 400
    both = PasswordChanges(changes=(
        UserChange(user=amy, new_password=host.box.seal("other")),
        UserChange(user=UserName(name="ghost"), new_password=host.box.seal("other")),
    ))  # fmt: skip
    assert await outcome(host, Accounts.change_passwords, both) == 404
    assert host.can_connect("amy", "secret", "app")
    assert not host.can_connect("anna", "secret", "app")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
@pytest.mark.parametrize("after", [0.02, 0.06, 0.2])
async def test_passwords_are_all_new_or_all_old(host: Host, number: int, after: float) -> None:
    names = [f"many{each}" for each in range(30)]
    host.accounts.create_database(NewDatabase(name="app"))
    for each in names:
        host.make(each, "app")
    changes = tuple(UserChange(user=UserName(name=each), new_password=host.box.seal("new")) for each in names)
    running = asyncio.ensure_future(outcome(host, Accounts.change_passwords, PasswordChanges(changes=changes), SHORT))
    await asyncio.sleep(after)
    await asyncio.to_thread(host.end, number)
    await asyncio.to_thread(host.start)
    password = "new" if await running == 202 else "secret"
    await asyncio.sleep(2)
    assert [each for each in names if not host.can_connect(each, password, "app")] == []


@pytest.mark.parametrize("after", [0.01, 0.02, 0.05])
async def test_a_user_is_changed_in_name_and_password_or_not_at_all(host: Host, after: float) -> None:
    host.accounts.create_database(NewDatabase(name="app"))
    host.make("many", "app")
    change = UserChange(user=UserName(name="many"), new_name="manyfold", new_password=host.box.seal("new"))
    running = asyncio.ensure_future(outcome(host, Accounts.update_user, change, SHORT))
    await asyncio.sleep(after)
    await asyncio.to_thread(host.end, signal.SIGKILL)
    await asyncio.to_thread(host.start)
    done = await running == 202
    await asyncio.sleep(2)
    assert host.can_connect("manyfold", "new", "app") is done
    assert host.can_connect("many", "secret", "app") is not done
    assert [each.name for each in host.accounts.list_users()] == ["manyfold" if done else "many"]


@pytest.mark.parametrize("after", [0.02, 0.1])
async def test_grants_are_all_made_or_none(host: Host, after: float) -> None:
    names = [f"many{each}" for each in range(12)]
    for each in names:
        host.accounts.create_database(NewDatabase(name=each))
    host.make("amy", "many0")
    running = asyncio.ensure_future(
        outcome(host, Accounts.grant_access, Grant(user=UserName(name="amy"), databases=tuple(names)), SHORT)
    )
    await asyncio.sleep(after)
    await asyncio.to_thread(host.end, signal.SIGKILL)
    await asyncio.to_thread(host.start)
    done = await running == 202
    await asyncio.sleep(2)
    (amy,) = host.accounts.list_users()
    assert sorted(amy.databases) == (sorted(names) if done else ["many0"])


@pytest.mark.parametrize("after", [0.01, 0.03, 0.06])
@pytest.mark.parametrize("what", ["user", "database"])
async def test_a_deletion_that_is_broken_off_is_done_or_put_back(host: Host, after: float, what: str) -> None:
    host.accounts.create_database(NewDatabase(name="app"))
    host.make("amy", "app")
    if what == "user":
        asked = outcome(host, Accounts.delete_user, UserToDelete(user=UserName(name="amy")), SHORT + 1)
    else:
        asked = outcome(host, Accounts.delete_database, DatabaseName(name="app"), SHORT + 1)
    running = asyncio.ensure_future(asked)
    await asyncio.sleep(after)
    await asyncio.to_thread(host.end, signal.SIGKILL)
    await asyncio.to_thread(host.start)
    done = await running == 202
    await asyncio.sleep(2)
    users: list[User] = list(host.accounts.list_users())
    there = [each.name for each in users] if what == "user" else list(host.accounts.list_databases())
    if done:
        assert there == []
    elif there:  # else it was dropped in the moment before the kill, before anybody was answered
        assert host.can_connect("amy", "secret", "app")
    if what == "database" and not there:
        assert [each.databases for each in users] == [()]


@pytest.mark.parametrize("after", [0.1, 0.4])
async def test_the_engine_dies_in_the_middle(host: Host, after: float) -> None:
    """What was done is undone when the engine is back, and calls are told that it is away, not that they are wrong."""
    running = asyncio.ensure_future(outcome(host, Accounts.create_databases, databases(MANY)))
    await asyncio.sleep(after)
    kill_below(host.folder / "data")
    assert await running in (202, 503)
    assert await outcome(host, Accounts.create_users, NewUsers(users=(host.user("eve"),))) == 503
    assert await outcome(host, Accounts.list_users, None) == 503
    await asyncio.to_thread(host.engine.start)
    wanted = (MANY if await running == 202 else 0, 0)
    assert await settled(host, "many", wanted) == wanted
    assert await outcome(host, Accounts.create_users, NewUsers(users=(host.user("eve"),))) == 202
