"""A call that fails at any of its statements is undone, or done to its end, or its answer says what of it stays."""

from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from contract.domain.accounts import Grant, NewDatabase, NewUser, UserChange, UserName
from contract.ports.guest import (
    DatabaseName,
    NewDatabases,
    NewUsers,
    PasswordChanges,
    RootOrder,
    UserToDelete,
)
from guest_worker.datastores.base import UNCHANGED, PartlyDone
from guest_worker.verbs.accounts import EngineAccounts
from tests.contracts.breaking import open_breaking
from tests.contracts.conftest import AMY, BOB, PASSWORD
from tests.contracts.engines import DIALECTS, ENGINES
from tests.contracts.guest import BOX, GuestParts, a_guest, done

ROOT = "root's Password 1"


def new_user(name: str, *databases: str) -> NewUser:
    return NewUser(name=name, password=BOX.seal(PASSWORD), databases=databases)


CALLS: dict[str, tuple[Any, ...]] = {
    "create databases": ("create_databases", NewDatabases(databases=(NewDatabase(name="a"), NewDatabase(name="b")))),
    "create users": ("create_users", NewUsers(users=(new_user("eve", "app", "other"), new_user("eva")))),
    "change name and password": (
        "update_user", UserChange(user=AMY, new_name="ann", new_password=BOX.seal("another")),
    ),
    "change passwords": (
        "change_passwords",
        PasswordChanges(changes=tuple(UserChange(user=each, new_password=BOX.seal("another")) for each in (AMY, BOB))),
    ),
    "grant": ("grant_access", Grant(user=BOB, databases=("app", "other"))),
    "revoke": ("revoke_access", Grant(user=AMY, databases=("app",))),
    "delete user": ("delete_user", UserToDelete(user=AMY)),
    "delete database": ("delete_database", DatabaseName(name="app")),
    "enable root": ("enable_root", RootOrder(password=BOX.seal(PASSWORD))),
    "disable root": ("disable_root", RootOrder()),
}  # fmt: skip


@pytest.fixture(scope="module", params=ENGINES)
def guest(request: pytest.FixtureRequest) -> Iterator[GuestParts]:
    """A guest whose engine can be told to give a statement up."""
    with a_guest(request.param, build=open_breaking) as parts:
        yield parts


def furnish(guest: GuestParts) -> None:
    """Databases `app` and `other`, of which `amy` uses both in two ways; `bob`; root is enabled."""
    guest.engine.breaking.at(0)
    accounts = guest.engine.accounts
    for user in accounts.list_users():
        accounts.delete_user(UserName(name=user.name, host=user.host))
    for name in accounts.list_databases():
        accounts.delete_database(name)
    ask = EngineAccounts(guest.services)
    done(ask.create_databases, NewDatabases(databases=(NewDatabase(name="app"), NewDatabase(name="other"))))
    done(ask.create_users, NewUsers(users=(new_user("amy", "app", "other"), new_user("bob"))))
    done(ask.enable_root, RootOrder(password=BOX.seal(ROOT)))
    dialect = DIALECTS[guest.manager]
    with dialect.connect(guest.address, "amy", PASSWORD, "app") as connection:
        dialect.ask(connection, "CREATE TABLE t (n int)")
    with dialect.connect(guest.address, "root", ROOT, "app") as connection:
        for statement in dialect.also_granted:
            dialect.ask(connection, statement)


def state(guest: GuestParts) -> Any:
    """All that calls are about: databases, users with what they may use, and secrets."""
    accounts = guest.engine.accounts
    users = accounts.list_users()
    names = [UserName(name=each.name, host=each.host) for each in users] + [UserName(name="root")]
    secrets = {each.name: accounts.credential(each) for each in names}
    return accounts.list_databases(), users, secrets, accounts.is_root_enabled()


def shape(found: Any) -> Any:
    """A state without secrets, which differ each time."""
    return found[0], found[1], found[3]


def outcome(guest: GuestParts, name: str, number: int = 0) -> ApplicationError | None:
    """Do a call whose statement of this number fails; its failure, if it is one."""
    verb, order = CALLS[name]
    guest.engine.breaking.at(number)
    try:
        done(getattr(EngineAccounts(guest.services), verb), order)
    except ApplicationError as error:
        return error
    finally:
        guest.engine.breaking.at(0)
    return None


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_says_what_is_true(guest: GuestParts, name: str) -> None:
    furnish(guest)
    _, wanted = outcome(guest, name), shape(state(guest))
    furnish(guest)
    before = state(guest)
    number = 0
    while True:
        number += 1 + number // 4  # not each of the last ones, which are many
        error = outcome(guest, name, number)
        if error is not None and not isinstance(error, PartlyDone):
            assert state(guest) == before, (number, error)
            continue
        if error is not None:
            assert UNCHANGED not in error.message
            assert outcome(guest, name) is None, number  # it may be asked for again
        assert shape(state(guest)) == wanted, (number, error)
        if not guest.engine.breaking.has_failed():
            break
        furnish(guest)
        before = state(guest)
